"""The reference of the command line, made from what it is: commands, settings, exit statuses, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import click
from msgspec.structs import fields

from perdure.cli.exits import MEANING
from perdure.cli.program import INTERRUPTED_MEANING, program
from perdure.cli.settings import PREFIX, SETTINGS, Setting
from perdure_proto.durations import format_duration


def commands_page() -> str:
    """Every command with its options, and what exit statuses mean."""
    parts = ["# The command line", *_exit_statuses(), *_commands(program, "perdure")]
    return "\n\n".join(parts) + "\n"


def settings_page() -> str:
    """Every setting with its flag, variable and default; then the bounds of the server."""
    from perdure_server.config import EngineSettings, Limits

    intro = (
        "A flag goes over a variable, that over the settings file (`--config`, `PERDURE_CONFIG`, else "
        "`./perdure.toml`, else `~/.config/perdure/config.toml`), that over the default. In the file a key "
        "at the top concerns every command; a table `[client]`, `[worker]`, `[server]` or `[dev]` goes over it "
        "for its own."
    )
    rows = "\n".join(_setting_row(setting) for setting in SETTINGS.values())
    head = "| setting | flag | variable | default | for | |\n|---|---|---|---|---|---|"
    parts = ["# Settings", intro, f"{head}\n{rows}"]
    for name, bounds in (("limits", Limits), ("engine", EngineSettings)):
        listed = "\n".join(
            f"| `{field.name}` | `{PREFIX}{name.upper()}_{field.name.upper()}` | {_shown(field.default)} |"
            for field in fields(bounds)
        )
        parts += [f"## `[{name}]`: bounds of the server", f"| key | variable | default |\n|---|---|---|\n{listed}"]
    return "\n\n".join(parts) + "\n"


def _exit_statuses() -> list[str]:
    rows = [f"| {status.value} | {meaning} |" for status, meaning in MEANING.items()]
    rows.append(f"| 130 | {INTERRUPTED_MEANING} |")
    return ["## Exit statuses", "| status | meaning |\n|---|---|\n" + "\n".join(rows)]


def _commands(group: click.Group, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
            continue
        context = click.Context(command, info_name=f"{path} {name}", terminal_width=100, max_content_width=100)
        yield f"## `{path} {name}`"
        yield f"```text\n{command.get_help(context)}\n```"


def _setting_row(setting: Setting) -> str:
    default = f"`{setting.shown_default}`" if setting.shown_default else ""
    roles = ", ".join(sorted(setting.roles))
    return f"| `{setting.name}` | `{setting.flag}` | `{setting.variable}` | {default} | {roles} | {setting.help} |"


def _shown(default: object) -> str:
    return format_duration(default) if isinstance(default, timedelta) else str(default)
