"""Started records and delivery: which answers of workers count, and what becomes of tasks that did not arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure_server.engine.handout import Handout
from perdure_server.engine.transactor import Transactor
from perdure_server.history.transitions import activity, workflow_task
from perdure_server.history.transitions.check import Overlay
from perdure_server.matching.deliveries import Deliveries
from perdure_server.matching.sessions import WorkerSession
from perdure_worker.workflow_tasks import WorkflowTasks
from tests.simulation.mutants.replace import replace


def any_workflow_task_answer_accepted() -> None:
    """A completion is taken whichever attempt it is of, and whatever was written since."""
    replace(workflow_task, "_fits", lambda *_: True)


def answers_of_other_starts_accepted() -> None:
    """The next event id need not be the token's: a completion that has not seen what was written since is taken."""

    def fits(_: Any, task: Any, request: Any) -> bool:
        return bool(task.attempt == request.attempt)

    replace(workflow_task, "_fits", fits)


def any_attempt_accepted() -> None:
    """What an attempt says that is over counts for the one that is pending."""

    def asked(state: Any, request: Any) -> Any:
        found = state.activities.get(request.scheduled_event_id)
        return None if found is None or found.closing else found

    replace(activity, "_asked", asked)


def refused_completions_kept() -> None:
    """A worker whose completion was refused keeps the run as if it had been taken."""
    replace(WorkflowTasks, "_answered", lambda *_: None)


def attempts_without_rows() -> None:
    """That an attempt of an activity has started is never kept beside the log."""
    replace(Handout, "received", lambda *_: None)


def last_attempts_without_rows() -> None:
    """The last allowed attempt is handed out before its row is written."""
    real_take, real_write = Handout._activity, Transactor.write_row

    async def take(self: Handout, execution: Any, ref: Any, session: Any) -> Any:
        _unwritten.add((execution.run_id, ref.scheduled_event_id))
        try:
            return await real_take(self, execution, ref, session)
        finally:
            _unwritten.discard((execution.run_id, ref.scheduled_event_id))

    def write_row(self: Transactor, execution: Any, scheduled_event_id: int) -> None:
        if (execution.run_id, scheduled_event_id) not in _unwritten:
            real_write(self, execution, scheduled_event_id)

    replace(Handout, "_activity", take)
    replace(Transactor, "write_row", write_row)


_unwritten: set[tuple[str, int]] = set()


def delivered_is_received() -> None:
    """A task counts as the worker's as soon as it is in an answer; nothing is given back."""
    replace(Handout, "undelivered", lambda *_: None)


def everything_is_acknowledged() -> None:
    """A worker that repeats a request acknowledges what it never got."""
    replace(WorkerSession, "acknowledge", _forget)


def _forget(self: WorkerSession, sequences: Any, source: Any) -> None:
    for sequence in [*sequences, *self.deliveries]:
        delivery = self.deliveries.pop(sequence, None)
        if delivery is not None:
            self.done[sequence] = None
            for token, slot in delivery.tokens.items():
                self.holding[token] = slot
                source.received(token, self)


def repeats_done_anew() -> None:
    """The answer to a request is not kept: what is repeated is done again."""
    real = Deliveries._finish

    def finish(self: Deliveries, exchange: Any) -> None:
        real(self, exchange)
        exchange.session.deliveries.pop(exchange.sequence, None)

    replace(Deliveries, "_finish", finish)


def held_not_listed() -> None:
    """A worker does not tell a new owner what it holds."""
    replace(Handout, "held", lambda *_: None)


def silent_workers_keep_their_tasks() -> None:
    """The tasks of a worker that is silent are given to nobody else."""
    replace(Handout, "quiet", lambda *_: None)


def lost_workers_keep_their_attempts() -> None:
    """The attempts of a worker that never comes back are waited for."""
    replace(Handout, "lost", lambda *_: None)


def closing_over_news() -> None:
    """A closing command is taken though something was buffered meanwhile."""
    replace(Overlay, "has_news", lambda _: False)


MUTANTS: tuple[Callable[[], None], ...] = (
    any_workflow_task_answer_accepted,
    answers_of_other_starts_accepted,
    any_attempt_accepted,
    refused_completions_kept,
    attempts_without_rows,
    last_attempts_without_rows,
    delivered_is_received,
    everything_is_acknowledged,
    repeats_done_anew,
    held_not_listed,
    silent_workers_keep_their_tasks,
    lost_workers_keep_their_attempts,
    closing_over_news,
)
