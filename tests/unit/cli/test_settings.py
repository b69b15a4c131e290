"""The table of settings: flags over variables over the file over defaults, and nothing declared twice."""

import dataclasses
import inspect
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from msgspec.structs import fields

from perdure.cli.exits import CommandError
from perdure.cli.server_settings import server_settings
from perdure.cli.settings import SETTINGS, Role, as_variables, options, settings_of
from perdure.cli.settings_file import config_option
from perdure_server.config import ServerSettings
from perdure_worker.process import ProcessOptions
from perdure_worker.worker import Worker

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command that has every server setting, in an empty folder, and gives what it was told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def invoke(*arguments: str, file: str | None = None, role: Role = Role.SERVER, **variables: str) -> dict[str, Any]:
        told: dict[str, Any] = {}

        @click.command()
        @options(*settings_of(role))
        @config_option(role)
        def command(**values: Any) -> None:
            told.update(values)

        if file is not None:
            Path("perdure.toml").write_text(file)
        outcome = CliRunner().invoke(command, arguments, env=variables, standalone_mode=False)
        if outcome.exception is not None:
            raise outcome.exception
        return told

    return invoke


def test_defaults_hold(run: Run) -> None:
    """Where nothing is said the default holds."""
    assert 7233 == run()["port"]


def test_the_file_goes_over_the_default(run: Run) -> None:
    """A key at the top of the file is heard by every role that has the setting."""
    assert 8000 == run(file="port = 8000")["port"]


def test_a_table_goes_over_the_top_of_the_file(run: Run) -> None:
    """The table of a role is nearer to it than the top of the file."""
    assert 9000 == run(file="port = 8000\n[server]\nport = 9000")["port"]


def test_the_table_of_another_role_is_not_heard(run: Run) -> None:
    """What is said to `perdure dev` does not concern the server."""
    assert 7233 == run(file="[dev]\nport = 9000")["port"]


def test_a_variable_goes_over_the_file(run: Run) -> None:
    """`PERDURE_PORT` is heard before the file."""
    assert 8001 == run(file="port = 8000", PERDURE_PORT="8001")["port"]


def test_a_flag_goes_over_a_variable(run: Run) -> None:
    """A flag is heard before all else."""
    assert 8002 == run("--port", "8002", file="port = 8000", PERDURE_PORT="8001")["port"]


def test_durations_come_from_everywhere(run: Run) -> None:
    """A duration is read alike from a flag, a variable and the file."""
    expected = timedelta(seconds=90)
    told = [run("--drain", "1m30s"), run(PERDURE_DRAIN="1m30s"), run(file='drain = "1m30s"')]
    assert [expected] * 3 == [values["drain"] for values in told]


def test_the_users_file_is_read(run: Run, tmp_path: Path) -> None:
    """Without a file here, the one in the user's folder is read."""
    (tmp_path / "config" / "perdure").mkdir(parents=True)
    (tmp_path / "config" / "perdure" / "config.toml").write_text("port = 8003")
    assert 8003 == run()["port"]


def test_a_named_file_is_read(run: Run, tmp_path: Path) -> None:
    """--config and PERDURE_CONFIG name another file."""
    (tmp_path / "other.toml").write_text("port = 8004")
    assert [8004, 8004] == [run("--config", "other.toml")["port"], run(PERDURE_CONFIG="other.toml")["port"]]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("prot = 1", "no setting 'prot'"),
        ("[server]\ntask_queue = 1", r"\[server\] has no setting 'task_queue'"),
        ("server = 1", r"write \[server\]"),
        ("port = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused(run: Run, file: str, said: str) -> None:
    """A key that nobody knows, or a file that is no TOML, is an error that names the file."""
    with pytest.raises(CommandError, match=rf"perdure\.toml.*{said}"):
        run(file=file)


def test_a_missing_named_file_is_refused(run: Run) -> None:
    """A file that was named must be there."""
    with pytest.raises(CommandError, match="does not exist"):
        run("--config", "nothing.toml")


@pytest.mark.parametrize("arguments", [("--port", "99999"), ("--drain", "10"), ("--log-level", "loud")])
def test_a_wrong_value_is_refused(run: Run, arguments: tuple[str, str]) -> None:
    """A value that does not fit its setting is a wrong command line."""
    with pytest.raises(click.UsageError) as caught:
        run(*arguments)
    assert arguments[0] in caught.value.format_message()


def test_server_settings_have_the_defaults_of_the_table() -> None:
    """A default that the table gives to the server is the one its Struct has."""
    defaults = {field.name: field.default for field in fields(ServerSettings)}
    shared = [row for row in settings_of(Role.SERVER) if row.name in defaults and row.default is not None]
    assert {row.name: defaults[row.name] for row in shared} == {row.name: row.default for row in shared}


def test_every_setting_of_the_server_is_in_the_table() -> None:
    """No field of the server's settings is without a row, apart from bounds and what has one value only."""
    inner = {"limits", "engine", "group_id"}
    assert set() == {field.name for field in fields(ServerSettings)} - inner - set(SETTINGS)


def test_every_row_says_what_it_is() -> None:
    """Each setting has a help text of one sentence and somebody whom it concerns."""
    rows = [dataclasses.asdict(row) for row in SETTINGS.values()]
    assert [] == [row["name"] for row in rows if not row["help"].endswith(".") or not row["roles"]]


def test_bounds_come_from_the_file_and_from_variables() -> None:
    """A bound of the engine can be lowered in the file, and a variable goes over it."""
    document = {"engine": {"queue_window_max": 5, "look_ahead": "2s"}}
    settings = server_settings({}, document, {"PERDURE_ENGINE_QUEUE_WINDOW_MAX": "7"})
    assert (7, timedelta(seconds=2)) == (settings.engine.queue_window_max, settings.engine.look_ahead)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"engine": {"window": 1}}, "no setting 'window'"),
        ({"limits": {"payload_bytes_max": "many"}}, r"limits\.payload_bytes_max"),
        ({"limits": 1}, r"write \[limits\]"),
    ],
)
def test_wrong_bounds_are_refused(document: dict[str, Any], said: str) -> None:
    """A bound that there is not, or that is no number, is named."""
    with pytest.raises(CommandError, match=said):
        server_settings({}, document, {})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_an_open_door_needs_a_key(host: str) -> None:
    """Beyond loopback the server listens only with an API key."""
    with pytest.raises(CommandError, match="without an API key"):
        server_settings({"host": host}, {}, {})
    assert host == server_settings({"host": host, "api_key": "secret"}, {}, {}).host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_loopback_needs_no_key(host: str) -> None:
    """On loopback the server listens without a key."""
    assert host == server_settings({"host": host}, {}, {}).host


def test_the_worker_has_the_defaults_of_the_table() -> None:
    """A default that the table gives to the worker is the one that `Worker` or its process has."""
    given = {name: p.default for name, p in inspect.signature(Worker.__init__).parameters.items()}
    given |= {field.name: field.default for field in fields(ProcessOptions)}
    rows = [row for row in settings_of(Role.WORKER) if row.name in given]
    assert {row.name: given[row.name] for row in rows} == {row.name: row.default for row in rows}


def test_settings_go_to_children_as_variables() -> None:
    """A child reads in its environment exactly what its parent was told."""
    told = {"graceful_shutdown_timeout": timedelta(hours=1, minutes=2, seconds=3), "processes": 2, "api_key": None}
    variables = as_variables(told)
    assert {"PERDURE_GRACEFUL_SHUTDOWN_TIMEOUT": "3723.0s", "PERDURE_PROCESSES": "2"} == variables
