"""The same plans come to the same on every side, and a side that is wrong is found out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest
from msgspec import structs

from perdure_proto.codec import decode_events, encode_events
from perdure_proto.events import AnyEvent, WorkflowExecutionUpdateCompleted
from perdure_server.engine import residents
from perdure_server.engine.execution import Execution
from perdure_server.engine.rebuild import rebuild
from perdure_server.store.model import ModelStore
from perdure_server.store.port import Append, CommitBatch, CommitResult, Fence
from tests.differential.contest import Contest
from tests.differential.plans import LONG_SECONDS, plan
from tests.differential.sides import MODEL, ORDINARY, OTHERS, UNCACHED
from tests.simulation.scenario import Action, Scenario

PROGRAMS = 12
BESIDE = 3
"""So many run at once on each side, which all run at once: they wait together, and nobody waits for the loop."""
Actions: TypeAlias = Sequence[tuple[str, list[Any]]]

WAITING = [["work", 1, 0, 0.0], ["wait", 9, LONG_SECONDS]]
UPDATED: Actions = [("start", [WAITING, "fail"]), ("signal", ["note"]), ("update", [1, 0]), ("query", [])]
PAUSED: Actions = [("start", [WAITING, "fail"]), ("pause", []), ("update", [1, 0]), ("unpause", [])]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def contest(postgres: str, migrated_template: str) -> Contest:
    return Contest(postgres, migrated_template, BESIDE)


async def test_every_side_gives_the_same_account(contest: Contest) -> None:
    """Whether the log is in memory or in Postgres, caches are on or off, and one server runs or three."""
    plans = [plan(seed) for seed in range(PROGRAMS)]
    await asyncio.gather(*(contest.hear(side, plans) for side in (ORDINARY, *OTHERS)))
    wrong = [finding.text() for side in OTHERS for finding in contest.findings(side)]
    assert [] == wrong, "\n".join(wrong)


async def test_a_store_that_drops_an_attribute_is_found(contest: Contest) -> None:
    """The two columns show what one log has and the other has not; a smaller plan shows it too."""
    await asyncio.gather(
        contest.hear(ORDINARY, one_of(UPDATED)), contest.hear(MODEL, one_of(UPDATED), ForgetfulStore())
    )
    (first,) = contest.findings(MODEL)
    assert '"result":' in first.difference
    assert "!" in first.difference
    smaller = await contest.shrunk(first, ForgetfulStore())
    assert ["start", "update"] == [action.do for action in smaller.scenario.clients[0]]
    assert "UpdateCompleted" in smaller.difference


async def test_a_run_that_is_read_back_wrongly_is_found(contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who keeps nothing in memory reads it back."""
    monkeypatch.setattr(residents, "rebuild", forgets_pauses)
    await asyncio.gather(contest.hear(ORDINARY, one_of(PAUSED)), contest.hear(UNCACHED, one_of(PAUSED)))
    (found,) = contest.findings(UNCACHED)
    assert "WorkflowExecutionPaused" in found.difference


def one_of(actions: Actions) -> list[Scenario]:
    """A plan of one workflow, with one stimulus at a time."""
    return [Scenario(seed="p0", clients=[[Action(at=0.0, do=do, on="p0-w", values=values) for do, values in actions]])]


class ForgetfulStore(ModelStore):
    """Loses the results of updates."""

    def commit_now(self, fence: Fence, batch: CommitBatch) -> CommitResult:
        appends = [spoilt(append) for append in batch.appends]
        return super().commit_now(fence, structs.replace(batch, appends=appends))


def spoilt(append: Append) -> Append:
    return structs.replace(append, events=encode_events([without_result(one) for one in decode_events(append.events)]))


def without_result(event: AnyEvent) -> AnyEvent:
    return structs.replace(event, result=b"null") if isinstance(event, WorkflowExecutionUpdateCompleted) else event


def forgets_pauses(*stored: Any) -> Execution:
    execution = rebuild(*stored)
    execution.state.paused = None
    return execution
