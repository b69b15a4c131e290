"""The reference names everything that the command line has."""

from perdure.cli.exits import Exit
from perdure.cli.reference import commands_page, settings_page
from perdure.cli.settings import SETTINGS


def test_every_command_is_in_the_reference() -> None:
    """Commands of groups too, and none that is hidden."""
    page = commands_page()
    assert [] == [
        c for c in ("dev", "workflow execute", "namespace list", "migrate") if f"## `perdure {c}`" not in page
    ]
    assert "reload-check" not in page


def test_every_status_is_in_the_reference() -> None:
    """Each exit status has a row."""
    assert [] == [status for status in Exit if f"| {status.value} |" not in commands_page()]


def test_every_setting_is_in_the_reference() -> None:
    """Each setting has its flag, its variable and its default, bounds included."""
    page = settings_page()
    assert [] == [row.name for row in SETTINGS.values() if f"`{row.flag}` | `{row.variable}`" not in page]
    assert "| `queue_window_max` | `PERDURE_ENGINE_QUEUE_WINDOW_MAX` | 100000 |" in page
