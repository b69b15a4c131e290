"""Every end of a command is an exit status and, when it failed, one line on stderr that says what to do."""

import json
import socket
from pathlib import Path

import pytest

from perdure.cli.exits import MEANING, Exit, status_of
from perdure.cli.program import program
from perdure_proto.errors import Code
from tests.unit.cli.conftest import Perdure

SHOWN = [name for name, command in program.commands.items() if not command.hidden]


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_version_is_said(perdure: Perdure) -> None:
    """The version is text for a person and JSON for a program."""
    assert perdure("version").out.startswith("perdure 0.")
    assert {"perdure", "python", "platform"} == set(json.loads(perdure("version", "--output", "json").out))


def test_help_lists_all_commands(perdure: Perdure) -> None:
    """Help ends well and names each command."""
    outcome = perdure("--help")
    assert (Exit.DONE, []) == (outcome.status, [name for name in SHOWN if name not in outcome.out])


@pytest.mark.parametrize("words", [("schedule", "list"), ("workflow", "diff", "x"), ("batch",), ("workflow", "why")])
def test_a_command_of_a_later_version_says_so(perdure: Perdure, words: tuple[str, ...]) -> None:
    """What the design knows and this version lacks is told from a typing error."""
    outcome = perdure(*words)
    assert (Exit.USAGE, True) == (outcome.status, "is not in this version" in outcome.err)


def test_a_typing_error_gets_a_hint(perdure: Perdure) -> None:
    """The nearest command is named."""
    outcome = perdure("workflow", "exceute", "hello")
    assert (Exit.USAGE, True) == (outcome.status, "did you mean 'execute'?" in outcome.err)


@pytest.mark.parametrize(
    "words",
    [
        ("workflow", "start"),
        ("workflow", "start", "hello", "--nonsense"),
        ("workflow", "start", "hello", "--run-timeout", "10"),
        ("workflow", "start", "hello", "--input", "{"),
        ("workflow", "start", "hello", "--id-conflict-policy", "maybe"),
        ("worker",),
        ("server",),
        ("server", "--embedded", "--database-url", "postgresql:///x"),
        ("server", "--database-url", "postgresql:///x", "--host", "0.0.0.0"),
        ("migrate",),
    ],
)
def test_a_wrong_command_line_is_one_line(perdure: Perdure, words: tuple[str, ...]) -> None:
    """A wrong command line ends with status 2 and one line, and the service is not asked."""
    outcome = perdure(*words)
    assert (Exit.USAGE, "", 1) == (outcome.status, outcome.out, len(outcome.err.splitlines()))
    assert outcome.err.startswith("error: USAGE: ")


def test_an_open_door_says_what_to_do(perdure: Perdure) -> None:
    """Listening beyond loopback without a key is refused, with the two ways out."""
    outcome = perdure("server", "--database-url", "postgresql:///x", "--host", "0.0.0.0")
    assert "set --api-key or PERDURE_API_KEY, or listen on 127.0.0.1" in outcome.err


def test_an_unreachable_service_is_unavailable(perdure: Perdure) -> None:
    """A service that does not answer is named with its address."""
    address = free_address()
    outcome = perdure("workflow", "list", "--address", address)
    assert (Exit.UNAVAILABLE, "", 1) == (outcome.status, outcome.out, len(outcome.err.splitlines()))
    assert outcome.err.startswith("error: UNAVAILABLE: ")
    assert address in outcome.err


def test_an_unreachable_database_is_unavailable(perdure: Perdure, tmp_path: Path) -> None:
    """`perdure migrate` on a Postgres that is not there is one line."""
    port = free_address().rpartition(":")[2]
    outcome = perdure("migrate", "--database-url", f"postgresql://x:y@127.0.0.1:{port}/x")
    assert (Exit.UNAVAILABLE, 1) == (outcome.status, len(outcome.err.splitlines()))
    assert outcome.err.startswith("error: DATABASE_UNAVAILABLE: ")


def test_a_missing_extra_is_named(perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the base install alone, a server command says which extra to install."""
    monkeypatch.setattr("perdure.cli.extras.find_spec", lambda name: None)
    outcome = perdure("dev")
    assert (Exit.NOT_DONE, True) == (outcome.status, "pip install 'perdure[embedded]'" in outcome.err)


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_status(code: Code) -> None:
    """What may pass is told from what was refused."""
    passing = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED}
    assert (Exit.UNAVAILABLE if code in passing else Exit.REFUSED) == status_of(code)


def test_every_status_has_a_meaning() -> None:
    """The reference can say what each status means."""
    assert set(Exit) == set(MEANING)
