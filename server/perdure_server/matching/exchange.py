"""A request of a worker session in progress, and what is kept of its answer until the worker acknowledges it.

Sequence numbers make requests repeatable: a repeat joins the exchange while it is in progress and gets the kept
answer afterwards. An exchange is *open* while tasks may be assigned to it. It must not know queues.
"""

from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from perdure_proto.tasks import (
    ActivityTask,
    AnyTask,
    CompletionResult,
    PollAnswer,
    PollRequest,
    RespondAnswer,
    RespondRequest,
)
from perdure_server.matching.backlog import Entry
from perdure_server.matching.port import TaskRef

if TYPE_CHECKING:
    from perdure_server.matching.sessions import WorkerSession

WORKFLOW = 0
"""Slots and queues of workflow tasks and queries."""

ACTIVITY = 1
"""Slots and queues of activities."""

AnyAnswer = PollAnswer | RespondAnswer


def slot_of(ref: TaskRef) -> int:
    """The kind of slot that a task takes."""
    return ACTIVITY if ref.kind == "activity" else WORKFLOW


class Delivery(Struct):
    """An answer that is not acknowledged: its tokens, with the kind of slot of each, and whether they count still."""

    answer: AnyAnswer
    tokens: dict[str, int]


class Exchange:
    """One numbered request: the slots it has left, what was assigned to it, and who waits for its answer."""

    __slots__ = (
        "arrival",
        "completing",
        "deadline",
        "done",
        "entries",
        "filled",
        "free",
        "front",
        "grouped",
        "open",
        "results",
        "sequence",
        "session",
        "tasks",
        "waiters",
    )

    def __init__(self, session: WorkerSession, request: PollRequest | RespondRequest, arrival: int) -> None:
        slots_max = session.slots_max
        self.session = session
        self.sequence = request.sequence
        self.arrival = arrival
        # A respond takes what its own completions make due, so it stands before the parked polls.
        self.front = isinstance(request, RespondRequest)
        self.free = [min(max(request.workflow_slots, 0), slots_max), min(max(request.activity_slots, 0), slots_max)]
        self.deadline = 0.0
        self.grouped = [False, False]
        self.open = False
        self.filled = False
        self.entries: deque[Entry] = deque()
        self.tasks: list[AnyTask] = []
        self.waiters: list[Future[AnyAnswer]] = []
        self.results: Sequence[CompletionResult] = ()
        self.completing: dict[str, int] = {}
        self.done: AnyAnswer | None = None

    def assign(self, entry: Entry, slot: int) -> None:
        """A task is to leave with this answer."""
        self.free[slot] -= 1
        self.entries.append(entry)

    def answer(self) -> AnyAnswer:
        """The answer, with all pushes that wait for the session."""
        pushes = self.session.take_pushes()
        tasks = tuple(self.tasks)
        if self.front:
            return RespondAnswer(sequence=self.sequence, results=tuple(self.results), tasks=tasks, pushes=pushes)
        return PollAnswer(sequence=self.sequence, tasks=tasks, pushes=pushes)

    def tokens(self) -> dict[str, int]:
        """The tokens of the tasks of the answer."""
        return {task.token: ACTIVITY if isinstance(task, ActivityTask) else WORKFLOW for task in self.tasks}

    def resolve(self, answer: AnyAnswer) -> None:
        """Give the answer to all that wait for it."""
        self.done = answer
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(answer)

    def refuse(self, error: BaseException) -> None:
        """Fail all that wait; nothing is kept, so a repeat tries again."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)
