"""The battery runs twice: with workflows kept in memory, and with every task replayed from the start.

A module says so in the parameters of its `stack`; outcomes are then the same test, and the invariants are checked at
the end of each stack. `same_history` adds that the two wrote the same log.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from perdure_proto.events import AnyEvent
from perdure_proto.service import StartWorkflowAnswer, StartWorkflowRequest
from tests.integration.model.histories import Plain, comparable, runs_of
from tests.integration.model.stack import Stack

MODE: Final = re.compile(r"\[(cached|one|replayed)(-|\])")
_seen: Final[dict[str, tuple[str, list[list[Plain]]]]] = {}


@pytest_asyncio.fixture(loop_scope="module")
async def same_history(
    stack: Stack, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """What the test has started writes the same log in each mode: see `one_stimulus`."""
    started: list[StartWorkflowAnswer] = []
    start = stack.client.service.start

    async def recorded(workflow_id: str, asked: StartWorkflowRequest) -> StartWorkflowAnswer:
        answer = await start(workflow_id, asked)
        started.append(answer)
        return answer

    monkeypatch.setattr(stack.client.service, "start", recorded)
    yield
    histories: list[list[AnyEvent]] = []
    for one in started:
        histories += [events async for events in runs_of(stack.client, one.workflow_id, one.run_id)]
    found = comparable(histories)
    mode, first = _seen.setdefault(MODE.sub("[", request.node.nodeid), (request.node.name, found))
    assert first == found, f"the log of {request.node.name} is not that of {mode}"
