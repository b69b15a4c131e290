"""The table of features names every command and every endpoint, and nothing that is not there."""

import re
from collections.abc import Iterator

import click
import pytest

from perdure.cli.program import program
from perdure.client import AsyncActivityHandle, Client, StandaloneActivityHandle, WorkflowHandle
from perdure_server.frontend.routes import ROUTES
from tests.tidy.source import ROOT

SPANS = re.findall(r"`([^`]+)`", (ROOT / "docs/reference/features.md").read_text(encoding="utf-8"))
FOR_WORKERS = re.compile(r"/task-queues/\{task_queue\}/\w+$|/waitpoints$")
OWNERS = {"c": Client, "h": WorkflowHandle, "a": StandaloneActivityHandle, "": AsyncActivityHandle}


def commands(group: click.Group, *words: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *words, name)
        elif not command.hidden:
            yield " ".join([*words, name])


def endpoints() -> Iterator[str]:
    """As the page writes them; what only workers ask is one line there."""
    for route in ROUTES:
        path = f"/api/v1/{route.path}"
        if FOR_WORKERS.search(path):
            continue
        path = re.sub(r"^/api/v1/namespaces/\{namespace\}(?=/)", "", path)
        path = re.sub(r"^/workflows/\{workflow_id\}", "W", path)
        path = re.sub(r"^/activities/\{activity_id\}", "A", path)
        yield f"{route.method} {path.replace('{task_queue}', '{name}')}"


@pytest.mark.parametrize("command", sorted(commands(program)))
def test_every_command_is_there(command: str) -> None:
    """Under the name that is typed."""
    assert command in SPANS


@pytest.mark.parametrize("endpoint", sorted(endpoints()))
def test_every_endpoint_is_there(endpoint: str) -> None:
    """With its method."""
    assert endpoint in SPANS


def test_nothing_else_is_there() -> None:
    """What begins like a command or a request is one."""
    groups = {name for name, one in program.commands.items() if isinstance(one, click.Group)}
    typed = [span for span in SPANS if span.split(" ")[0] in groups]
    asked = [re.sub(r"/query/__\w+$", "/query/{name}", span) for span in SPANS if re.match(r"(GET|POST) ", span)]
    assert set() == set(typed) - set(commands(program))
    assert set() == set(asked) - set(endpoints())


def test_every_call_is_there() -> None:
    """Of clients and handles, by the letter that stands for them."""
    calls = [found for span in SPANS if (found := re.fullmatch(r"([cha]?)\.(\w+)", span))]
    assert len(calls) > len(OWNERS)
    assert [] == [found[0] for found in calls if not hasattr(OWNERS[found[1]], found[2])]
