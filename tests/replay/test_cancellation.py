"""Workflows that are asked to stop: each story goes as it says, live and on replay alike."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import workflow
from tests.replay.cancellation.story import CASES, WORDS, Forgetful, kept, told_to, work
from tests.replay.service import Service, names


@pytest.mark.parametrize("kind", [Service, Forgetful], ids=["cached", "replayed"])
@pytest.mark.parametrize("name", CASES)
def test_the_story_goes_as_it_says(name: str, kind: type[Service]) -> None:
    """With the workflow cached, with a replay for each task, and on a replay of the whole."""
    service, turns = told_to(CASES[name], kind)
    assert CASES[name].turns == [", ".join([WORDS[type(one)] for one in turn]) for turn in turns]
    if CASES[name].result is not None:
        assert CASES[name].result == service.result()
    service.check()


@pytest.mark.parametrize("name", CASES)
def test_a_replay_asks_for_the_same(name: str) -> None:
    """Not only commands of the same kind: each is equal, field by field."""
    assert told_to(CASES[name], Service)[1] == told_to(CASES[name], Forgetful)[1]


@workflow.defn
async def works_nearby() -> str:
    return await kept(work.local("near"))


@workflow.defn
async def leaves_nearby() -> str:
    return await work.local("near")


@pytest.mark.parametrize(
    ("program", "closes"),
    [(works_nearby, ["RecordMarker", "CompleteWorkflowExecution"]), (leaves_nearby, ["CancelWorkflowExecution"])],
    ids=["shielded", "not shielded"],
)
def test_a_local_activity_ends_after_the_request(program: Any, closes: list[str]) -> None:
    """Between two tasks both come: the request is told first, so a result that nobody waits for leaves no marker."""
    service = Service(program)
    service.turn()
    service.instance.end_turn()
    service.request_cancel("stop")
    service.end_local("1", "near")
    assert closes == names(service.turn())
    service.check()
