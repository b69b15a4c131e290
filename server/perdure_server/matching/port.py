"""The seam between matching and the engine: what the engine offers, and what matching asks of it.

Matching knows queues, sessions and deliveries; the engine knows executions. A `TaskRef` says only as much of a due
task as matching needs to find a worker for it; the task itself is built at hand-out, by the engine. This module must
not know what is in a task, nor how it is stored or sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Literal, Protocol

from msgspec import Struct

from perdure_proto.tasks import AnyCompletion, AnyTask, CompletionResult, WorkerInfo

TaskKind = Literal["workflow", "activity", "query"]
"""`workflow` and `query` tasks wait in one queue and take workflow slots, queries first; activities in another."""

PRIORITY_MAX = 5
"""The least urgent priority; 1 is the most urgent."""

PRIORITY_DEFAULT = 3


class TaskRef(Struct):
    """A task that is due. The engine builds the real task only when a session takes it.

    `sticky_session` is the session that has the run cached ("" = none); matching clears it when that session is gone,
    silent, or too slow.
    """

    kind: TaskKind
    namespace: str
    task_queue: str
    shard_id: int
    run_id: str
    scheduled_event_id: int
    attempt: int
    type_name: str
    priority_key: int = PRIORITY_DEFAULT
    sticky_session: str = ""
    fairness_key: str = ""
    fairness_weight: float = 1.0


class Times(Struct, frozen=True):
    """Time as it is passed in: a monotonic clock, the time of day, and how to wait. Tests move the clock."""

    clock: Callable[[], float]
    wall: Callable[[], datetime]
    wake: Callable[[float], Awaitable[object]]


class Session(Protocol):
    """A worker process as the engine sees it: one session of it on one task queue."""

    @property
    def id(self) -> str:
        """The name that the worker gave the session."""

    @property
    def namespace(self) -> str:
        """The namespace it polls."""

    @property
    def queue(self) -> str:
        """The task queue it polls."""

    @property
    def worker(self) -> WorkerInfo:
        """What the worker said of itself."""


class TaskSource(Protocol):
    """What the engine does for matching.

    The plain methods do not block, and ignore tokens they do not know: a task may have ended meanwhile.
    """

    async def take(self, ref: TaskRef, session: Session) -> AnyTask | None:
        """Build the task and mark it as handed out, in memory. None: the ref is stale, drop it.

        Usually it does not suspend. It does not raise: what cannot be handed out now is None, and offered again.
        """

    def received(self, token: str, session: Session) -> None:
        """The session has acknowledged the delivery."""

    def undelivered(self, token: str, session: Session) -> None:
        """Nobody acknowledged it and nobody will: hand it out again by `offer`; no attempt is counted."""

    def quiet(self, session: Session, tokens: list[str]) -> None:
        """A second without an open request: workflow and query tasks are given back, stickiness is lost.

        Of tokens that the worker listed as held the kind is unknown: activities among them are left alone.
        """

    def lost(self, session: Session, tokens: list[str]) -> None:
        """Ten seconds: running activity attempts count as failed with `WORKER_LOST`. Also when it left with some."""

    def held(self, session: Session, tokens: Sequence[str]) -> None:
        """What the worker is working on: with the first request of a session, and whenever it was asked."""

    async def complete(
        self, namespace: str, session: Session, completions: Sequence[AnyCompletion]
    ) -> list[CompletionResult]:
        """One result for each completion, in order, once they are durable.

        What they make due and is offered before this returns, or in the same tick, leaves in the same answer.
        """

    async def refill(self, namespace: str, task_queue: str, kind: str, room: int) -> int:
        """Page up to `room` parked tasks back, by `offer` as `paged`; `kind` is `workflow` (queries too) or `activity`.

        It says how many it has taken out, offered or not: only after none nothing more is parked. What `offer` refuses
        stays parked.
        """
