"""A task source that records what it is told, a clock that is moved by hand, and short ways to poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from perdure_proto.payload import EMPTY_LIST
from perdure_proto.tasks import (
    ActivityTask,
    AnyCompletion,
    AnyTask,
    CompletionResult,
    PollAnswer,
    PollRequest,
    RespondAnswer,
    RespondRequest,
    WorkerInfo,
    WorkflowTask,
)
from perdure_server.config import EngineSettings
from perdure_server.matching import Matching, MatchingLimits, Session, TaskRef, Times

MORNING = datetime(2026, 1, 1, 8, tzinfo=UTC)
WORKER = WorkerInfo(identity="w", workflow_types=("Order",), activity_types=("charge", "ship"))
EVERY_TYPE = WorkerInfo(identity="any", dynamic_workflows=True, dynamic_activities=True)


def workflow_ref(run_id: str, **fields: Any) -> TaskRef:
    known: dict[str, Any] = {"kind": "workflow", "type_name": "Order", "task_queue": "q"}
    known |= {"namespace": "ns", "shard_id": 1}
    return TaskRef(run_id=run_id, scheduled_event_id=2, attempt=1, **(known | fields))


def activity_ref(run_id: str, **fields: Any) -> TaskRef:
    return workflow_ref(run_id, **({"kind": "activity", "type_name": "charge"} | fields))


class RecordingSource:
    """Builds a task for every ref but the stale; `told` is what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, list[str]]] = []
        self.stale: set[str] = set()
        self.broken: set[str] = set()
        self.taken: list[str] = []
        self.took = asyncio.Event()
        self.hold: dict[str, asyncio.Event] = {}
        self.commit = asyncio.Event()
        self.commit.set()
        self.due: list[TaskRef] = []
        self.results: list[CompletionResult] | Exception | None = None
        self.completed: list[str] = []
        self.parked_in_vain = 0
        """Parked tasks of runs that are closed: nobody is offered them."""
        self.refills: list[tuple[str, str, str, int]] = []
        self.parked: list[TaskRef] = []
        self.matching: Matching | None = None

    async def take(self, ref: TaskRef, session: Session) -> AnyTask | None:
        if ref.run_id in self.broken:
            raise RuntimeError("broken")
        if ref.run_id in self.hold:
            await self.hold[ref.run_id].wait()
        if ref.run_id in self.stale:
            return None
        self.taken.append(ref.run_id)
        self.took.set()
        return task_of(ref)

    def received(self, token: str, session: Session) -> None:
        self.told.append(("received", session.id, [token]))

    def undelivered(self, token: str, session: Session) -> None:
        self.told.append(("undelivered", session.id, [token]))

    def quiet(self, session: Session, tokens: list[str]) -> None:
        self.told.append(("quiet", session.id, tokens))

    def lost(self, session: Session, tokens: list[str]) -> None:
        self.told.append(("lost", session.id, tokens))

    def held(self, session: Session, tokens: Sequence[str]) -> None:
        self.told.append(("held", session.id, list(tokens)))

    async def complete(
        self, namespace: str, session: Session, completions: Sequence[AnyCompletion]
    ) -> list[CompletionResult]:
        await self.commit.wait()
        if isinstance(self.results, Exception):
            raise self.results
        self.completed += [completion.token for completion in completions]
        self.offer_due()
        return self.results or [CompletionResult() for _ in completions]

    async def refill(self, namespace: str, task_queue: str, kind: str, room: int) -> int:
        self.refills.append((namespace, task_queue, kind, room))
        assert self.matching is not None
        taken, self.parked_in_vain = min(self.parked_in_vain, room), max(self.parked_in_vain - room, 0)
        while self.parked and taken < room and self.matching.offer(self.parked[0], paged=True):
            self.parked.pop(0)
            taken += 1
        return taken

    def offer_due(self) -> None:
        assert self.matching is not None
        for ref in self.due:
            assert self.matching.offer(ref)
        self.due = []


def task_of(ref: TaskRef) -> AnyTask:
    names: dict[str, Any] = {"token": ref.run_id, "workflow_id": ref.run_id, "run_id": ref.run_id}
    if ref.kind == "activity":
        return ActivityTask(
            **names,
            workflow_type="Order",
            activity_id="1",
            activity_type=ref.type_name,
            scheduled_time=MORNING,
            current_attempt_scheduled_time=MORNING,
            started_time=MORNING,
        )
    return WorkflowTask(**names, workflow_type=ref.type_name, events=EMPTY_LIST, started_event_id=3)


class Bench:
    """A matching on a bench: its source, its clock, and workers as short calls."""

    def __init__(self, settings: EngineSettings, limits: MatchingLimits | None) -> None:
        self.now = 1000.0
        self.source = RecordingSource()
        self.wakes: asyncio.Queue[float] = asyncio.Queue()
        times = Times(clock=lambda: self.now, wall=lambda: MORNING, wake=self._wake)
        self.matching = Matching(self.source, settings, times, limits)
        self.source.matching = self.matching
        self.numbers = count(1)
        self.tasks: list[asyncio.Task[Any]] = []
        self.known: set[str] = set()

    async def _wake(self, seconds: float) -> None:
        self.now += await self.wakes.get()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.matching.sweep()

    def request(self, session: str, workflow: int = 0, activity: int = 0, **fields: Any) -> PollRequest:
        """A poll with the next sequence; the first of a session says who the worker is."""
        if session not in self.known:
            fields = {"worker": WORKER} | fields
            self.known.add(session)
        defaults: dict[str, Any] = {"sequence": next(self.numbers), "wait": timedelta(seconds=60)}
        return PollRequest(session=session, workflow_slots=workflow, activity_slots=activity, **(defaults | fields))

    async def park(self, request: PollRequest) -> asyncio.Task[PollAnswer]:
        """Send a poll and let it rest."""
        task = asyncio.create_task(self.matching.poll("ns", "q", request))
        self.tasks.append(task)
        await settle()
        return task

    async def rest(self, session: str, workflow: int = 0, activity: int = 0) -> None:
        """A poll that rests until the end of the test."""
        self.tasks.append(await self.park(self.request(session, workflow, activity)))

    async def poll(self, session: str, workflow: int = 0, activity: int = 0, **fields: Any) -> PollAnswer:
        """A poll that does not wait."""
        request = self.request(session, workflow, activity, **({"wait": timedelta(0)} | fields))
        return await self.matching.poll("ns", "q", request)

    async def respond(self, request: RespondRequest) -> asyncio.Task[RespondAnswer]:
        task = asyncio.create_task(self.matching.respond("ns", "q", request))
        self.tasks.append(task)
        await settle()
        return task

    def offer(self, *refs: TaskRef) -> None:
        for ref in refs:
            assert self.matching.offer(ref)

    def told(self, what: str) -> list[tuple[str, list[str]]]:
        """Whom and what the source was told of one kind."""
        return [(session, tokens) for name, session, tokens in self.source.told if name == what]


@asynccontextmanager
async def bench(
    settings: EngineSettings = EngineSettings(),  # noqa: B008 - it is frozen
    limits: MatchingLimits | None = None,
) -> AsyncIterator[Bench]:
    made = Bench(settings, limits)
    try:
        yield made
    finally:
        made.source.commit.set()
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        await made.matching.close()


async def settle() -> None:
    """Let everything that is ready run: an answer passes through a handful of ticks."""
    for _ in range(10):
        await asyncio.sleep(0)


def runs(answer: PollAnswer | RespondAnswer) -> list[str]:
    return [task.run_id for task in answer.tasks]
