"""Eager turns: when an activity ends here whose workflow is cached here, the workflow goes on before the service asks.

The result and the workflow's answer to it leave in one completion, are one commit, and the next activity comes with
the answer: a step costs one exchange instead of two. What the workflow is told is made as the service would write it.
Until the service has taken the turn the run is ahead of the log: no other task is run on it, and if the turn is not
taken, because a signal came in between, say, the run is evicted and replayed from the log.

Only a turn that the log can hold at once is tried: the workflow waited for this activity and had asked for nothing
else, and it asks for no local activity.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Raw, Struct

from perdure_proto import events as ev
from perdure_proto.codec import encoder
from perdure_proto.commands import ScheduleActivityTask
from perdure_proto.events import AnyEvent
from perdure_proto.tasks import ActivityTask, ActivityTaskCompletion, CompletionResult, EagerTurn
from perdure_worker.cache import Cache, CachedRun
from perdure_worker.outcome import Outcome, sole_activity
from perdure_worker.slots import Slots
from perdure_worker.telemetry import EAGER_TURN_FAILED, log

SKIPPED_AFTER_REFUSAL: Final = 16
"""So many activities of a run end as always after a turn that was not taken: each of those costs a replay."""

SKIPPING_MAX: Final = 10_000


class EagerTurns(Struct, frozen=True):
    """Lets cached workflows go on with the results of their activities."""

    cache: Cache
    slots: Slots
    waits_for_local: set[str] = msgspec.field(default_factory=set)
    """Types of workflows that asked for a local activity after an activity: they are not tried again."""
    skipping: dict[str, int] = msgspec.field(default_factory=dict)
    """By run id: how many more of its activities end as always, for news tend to come to this run in between."""

    def extend(
        self, task: ActivityTask, completion: ActivityTaskCompletion, took: timedelta
    ) -> ActivityTaskCompletion | None:
        """The completion with the turn to which it leads; None if there is none to give, or it is not worth trying."""
        run = self._waiting_for(task)
        if run is None or run.awaits is None:
            return None
        try:
            return self._gone_on(run, run.awaits, task, completion, took)
        except Exception as error:  # noqa: BLE001 - what breaks the worker's own code must not cost the result
            log.error(EAGER_TURN_FAILED, workflow_id=task.workflow_id, run_id=task.run_id, exc_info=error)
            self.cache.evict(task.run_id, "its eager turn failed")
            return None

    def _gone_on(
        self,
        run: CachedRun,
        awaits: ScheduleActivityTask,
        task: ActivityTask,
        completion: ActivityTaskCompletion,
        took: timedelta,
    ) -> ActivityTaskCompletion | None:
        started_event_id = run.instance.previous_started_event_id
        turn = EagerTurn(
            last_event_id=started_event_id + 2,
            started_at=task.started_time + took,
            history_size_bytes=run.instance.told.history_size_bytes,
            suggest_continue_as_new=run.instance.told.suggest_continue_as_new,
        )
        outcome = run.instance.go_on(events_of_step(started_event_id, awaits, completion, turn))
        if not self._can_leave(run, task, outcome):
            return None
        run.ahead, run.awaits = run.instance.previous_started_event_id, sole_activity(outcome.commands)
        asked = {"commands": Raw(encoder.encode(outcome.commands)), "current_details": outcome.current_details}
        return msgspec.structs.replace(completion, turn=msgspec.structs.replace(turn, **asked))

    def answered(self, run_id: str, turn: EagerTurn, result: CompletionResult) -> None:
        """The turn was taken, and the run stands where the log does; or it must go."""
        run = self.cache.get(run_id)
        if run is None or not run.ahead:
            return
        if result.code is not None or not result.history_size_bytes:
            self.cache.evict(run_id, "its eager turn was not taken")
            self._skip(run_id)
            return
        run.instance.tell_size(result.history_size_bytes)
        if run.ahead == start_of(turn):
            run.ahead = 0
            if run.instance.closed:
                self.cache.discard(run_id)

    def _waiting_for(self, task: ActivityTask) -> CachedRun | None:
        """The run, if it waits for this activity and may go on with it.

        An activity that an eager turn has scheduled says that the turn was taken, though its own answer is not here.
        """
        run = self.cache.get(task.run_id)
        if run is None or run.awaits is None or run.awaits.activity_id != task.activity_id:
            return None
        if run.turn is not None or run.local or self.slots.closed:
            return None
        return None if task.workflow_type in self.waits_for_local or self._skips(task.run_id) else run

    def _skip(self, run_id: str) -> None:
        if len(self.skipping) >= SKIPPING_MAX:
            self.skipping.clear()
        self.skipping[run_id] = SKIPPED_AFTER_REFUSAL

    def _skips(self, run_id: str) -> bool:
        left = self.skipping.get(run_id, 0)
        if left > 1:
            self.skipping[run_id] = left - 1
        elif left:
            del self.skipping[run_id]
        return left > 0

    def _can_leave(self, run: CachedRun, task: ActivityTask, outcome: Outcome) -> bool:
        if outcome.failure is None and not outcome.local_activities and not outcome.local_pending:
            return True
        if outcome.failure is None:
            self.waits_for_local.add(task.workflow_type)
        self.cache.evict(run.run_id, "its turn cannot be taken eagerly")
        return False


def start_of(turn: EagerTurn) -> int:
    """The id of the event with which it started."""
    return turn.last_event_id + 4


def events_of_step(
    started_event_id: int, awaits: ScheduleActivityTask, completion: ActivityTaskCompletion, turn: EagerTurn
) -> list[AnyEvent]:
    """What the log will hold from the completion of the last task to the start of the next one."""
    first, at = started_event_id + 1, turn.started_at
    scheduled = _scheduled(first + 1, at, first, awaits)
    return [
        ev.WorkflowTaskCompleted(
            event_id=first, event_time=at, scheduled_event_id=started_event_id - 1, started_event_id=started_event_id
        ),
        scheduled,
        ev.ActivityTaskStarted(event_id=first + 2, event_time=at, scheduled_event_id=scheduled.event_id),
        ev.ActivityTaskCompleted(
            event_id=first + 3,
            event_time=at,
            scheduled_event_id=scheduled.event_id,
            started_event_id=first + 2,
            result=completion.result,
            encoding=completion.encoding,
        ),
        ev.WorkflowTaskScheduled(event_id=first + 4, event_time=at, task_queue=""),
        ev.WorkflowTaskStarted(
            event_id=first + 5,
            event_time=at,
            scheduled_event_id=first + 4,
            history_size_bytes=turn.history_size_bytes,
            suggest_continue_as_new=turn.suggest_continue_as_new,
        ),
    ]


def _scheduled(
    event_id: int, at: datetime, completed_event_id: int, command: ScheduleActivityTask
) -> ev.ActivityTaskScheduled:
    return ev.ActivityTaskScheduled(
        event_id=event_id,
        event_time=at,
        activity_id=command.activity_id,
        activity_type=command.activity_type,
        workflow_task_completed_event_id=completed_event_id,
    )
