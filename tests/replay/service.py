"""A service small enough to read: it keeps the history of one run and plays it, turn by turn, to an instance.

It writes events as the real one does: what commands become right after WorkflowTaskCompleted, news before the next
WorkflowTaskScheduled. Each task brings only what is new, as to a worker that has the run cached; `check` then replays
the whole history, as a worker that has not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Raw

from perdure.converter import DataConverter
from perdure_proto import commands as cmd
from perdure_proto import events as ev
from perdure_proto.codec import encode_events
from perdure_proto.events import AnyEvent
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_proto.tasks import QueryDelivery, QueryResult, QueryTask, UpdateDelivery, WorkflowTask
from perdure_worker.outcome import InstanceOptions, LocalActivityResult, Outcome
from perdure_worker.replayer import Replayer
from perdure_worker.runtime import WorkflowInstance

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
CONVERTER = DataConverter()
RUN_ID = "0192f0c0-0000-7000-8000-000000000001"

made: list[Service] = []
"""The services of the test that runs; closed after it."""

# For each command: the event it becomes and the fields that go with it.
RECORDED: dict[type[cmd.Command], tuple[type[ev.Event], tuple[str, ...]]] = {
    cmd.ScheduleActivityTask: (ev.ActivityTaskScheduled, ("activity_id", "activity_type", "input", "kwargs")),
    cmd.RequestCancelActivityTask: (ev.ActivityTaskCancelRequested, ("scheduled_event_id",)),
    cmd.StartTimer: (ev.TimerStarted, ("timer_id", "start_to_fire_timeout", "summary")),
    cmd.UpsertWorkflowSearchAttributes: (ev.UpsertWorkflowSearchAttributes, ("search_attributes",)),
    cmd.ModifyWorkflowProperties: (ev.WorkflowPropertiesModified, ("upserted_memo",)),
    cmd.CompleteWorkflowExecution: (ev.WorkflowExecutionCompleted, ("result", "encoding")),
    cmd.FailWorkflowExecution: (ev.WorkflowExecutionFailed, ("failure",)),
    cmd.CancelWorkflowExecution: (ev.WorkflowExecutionCanceled, ()),
    cmd.StartChildWorkflowExecution: (
        ev.StartChildWorkflowExecutionInitiated,
        ("workflow_id", "workflow_type", "namespace", "input"),
    ),
    cmd.SignalExternalWorkflowExecution: (
        ev.SignalExternalWorkflowExecutionInitiated,
        ("workflow_id", "signal_name", "namespace", "run_id", "input"),
    ),
    cmd.RequestCancelExternalWorkflowExecution: (
        ev.RequestCancelExternalWorkflowExecutionInitiated,
        ("workflow_id", "namespace", "run_id", "reason"),
    ),
    cmd.RecordMarker: (ev.MarkerRecorded, ("marker_name", "details", "failure")),
}


class Service:
    """One run of one workflow, its history and the worker's instance of it."""

    def __init__(self, workflow: Any, *args: object, **kwargs: object) -> None:
        made.append(self)
        self.workflow = workflow
        self.events: list[AnyEvent] = []
        self.now = EPOCH
        self.instance = self.new_instance()
        self.sent = 0
        self.updates: dict[str, UpdateDelivery] = {}
        self.accepted_at: dict[str, int] = {}
        self.outcome: Outcome | None = None
        given, named, encoding = CONVERTER.encode_args(args, kwargs)
        self.add(
            ev.WorkflowExecutionStarted,
            workflow_id="w-1",
            workflow_type=workflow.name,
            task_queue="default",
            input=given,
            kwargs=named,
            encoding=encoding,
            original_execution_run_id=RUN_ID,
            first_execution_run_id=RUN_ID,
        )

    def new_instance(self) -> WorkflowInstance:
        options = InstanceOptions(converter=CONVERTER)
        return WorkflowInstance(self.workflow.definition, options, workflow_id="w-1", run_id=RUN_ID)

    def add(self, kind: Callable[..., Any], **fields: Any) -> int:
        event: AnyEvent = kind(event_id=len(self.events) + 1, event_time=self.now, **fields)
        self.events.append(event)
        return event.event_id

    # News.

    def signal(self, name: str, *args: object) -> int:
        given, named, encoding = CONVERTER.encode_args(args, {})
        return self.add(ev.WorkflowExecutionSignaled, signal_name=name, input=given, kwargs=named, encoding=encoding)

    def request_cancel(self, reason: str = "") -> int:
        return self.add(ev.WorkflowExecutionCancelRequested, cause=reason)

    def fire_timer(self, number: int = 1) -> int:
        started = next(e for e in self.of(ev.TimerStarted) if e.timer_id == str(number))
        self.now = max(self.now, started.event_time + started.start_to_fire_timeout)
        return self.add(ev.TimerFired, timer_id=started.timer_id, started_event_id=started.event_id)

    def complete(self, activity: str = "1", value: object = None) -> int:
        scheduled, started = self._start(activity)
        result, encoding = CONVERTER.encode_value(value)
        return self.add(
            ev.ActivityTaskCompleted,
            scheduled_event_id=scheduled,
            started_event_id=started,
            result=result,
            encoding=encoding,
        )

    def fail(self, activity: str = "1", message: str = "boom", type: str = "ValueError") -> int:
        scheduled, started = self._start(activity)
        failure = Failure(message=message, info=ApplicationFailure(type=type))
        return self.add(
            ev.ActivityTaskFailed,
            scheduled_event_id=scheduled,
            started_event_id=started,
            failure=failure,
            retry_state="MAXIMUM_ATTEMPTS_REACHED",
        )

    def canceled(self, activity: str = "1") -> int:
        return self.add(ev.ActivityTaskCanceled, scheduled_event_id=self.scheduled(activity))

    def scheduled(self, activity: str) -> int:
        found = [e for e in self.events if isinstance(e, ev.ActivityTaskScheduled) and e.activity_id == activity]
        return found[0].event_id

    def _start(self, activity: str) -> tuple[int, int]:
        scheduled = self.scheduled(activity)
        return scheduled, self.add(ev.ActivityTaskStarted, scheduled_event_id=scheduled)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    # Turns.

    def task(self, updates: Sequence[UpdateDelivery] = ()) -> WorkflowTask:
        """The next workflow task, scheduled and started now."""
        self.now += timedelta(seconds=1)
        scheduled = self.add(ev.WorkflowTaskScheduled, task_queue="default")
        started = self.add(ev.WorkflowTaskStarted, scheduled_event_id=scheduled)
        self.updates.update({update.update_id: update for update in updates})
        return WorkflowTask(
            token="t",
            workflow_id="w-1",
            run_id=RUN_ID,
            workflow_type=self.workflow.name,
            events=Raw(encode_events(self.events[self.sent :])),
            history_from=self.sent + 1,
            previous_started_event_id=self.sent,
            started_event_id=started,
            updates=tuple(updates),
        )

    def turn(self, *updates: UpdateDelivery) -> list[cmd.AnyCommand]:
        """One workflow task from beginning to end; its commands."""
        task = self.task(updates)
        assert self.instance.fits(task)
        self.outcome = self.instance.activate(task)
        return self.finish(task)

    def finish(self, task: WorkflowTask) -> list[cmd.AnyCommand]:
        """Writes what the outcome's commands become."""
        assert self.outcome is not None
        if self.outcome.error is not None:
            raise self.outcome.error
        commands = self.outcome.commands
        only_refused = bool(commands) and all(isinstance(one, cmd.RejectUpdate) for one in commands)
        if only_refused and self.instance.previous_started_event_id != task.started_event_id:
            del self.events[task.started_event_id - 2 :]
            self.sent = self.of(ev.WorkflowTaskCompleted)[-1].started_event_id
            return commands
        self.sent = task.started_event_id
        completed = self.add(
            ev.WorkflowTaskCompleted,
            scheduled_event_id=task.started_event_id - 1,
            started_event_id=task.started_event_id,
        )
        for command in commands:
            self._record(command, completed)
        return commands

    def _record(self, command: cmd.AnyCommand, completed: int) -> None:
        match command:
            case cmd.CancelTimer():
                started = next(e for e in self.of(ev.TimerStarted) if e.timer_id == command.timer_id)
                self.add(
                    ev.TimerCanceled,
                    timer_id=command.timer_id,
                    started_event_id=started.event_id,
                    workflow_task_completed_event_id=completed,
                )
            case cmd.AcceptUpdate():
                update = self.updates[command.update_id]
                self.accepted_at[update.update_id] = self.add(
                    ev.WorkflowExecutionUpdateAccepted,
                    update_id=update.update_id,
                    update_name=update.update_name,
                    input=update.input,
                    kwargs=update.kwargs,
                )
            case cmd.CompleteUpdate():
                self.add(
                    ev.WorkflowExecutionUpdateCompleted,
                    update_id=command.update_id,
                    accepted_event_id=self.accepted_at[command.update_id],
                    result=command.result,
                    failure=command.failure,
                )
            case cmd.ContinueAsNewWorkflowExecution():
                self.add(
                    ev.WorkflowExecutionContinuedAsNew,
                    new_execution_run_id="next",
                    workflow_type=command.workflow_type or self.workflow.name,
                    task_queue="default",
                    input=command.input,
                    workflow_task_completed_event_id=completed,
                )
            case cmd.RejectUpdate():
                pass
            case _:
                kind, fields = RECORDED[type(command)]
                values = {name: getattr(command, name) for name in fields}
                self.add(kind, workflow_task_completed_event_id=completed, **values)

    def end_local(self, activity: str, value: object = None, failure: Failure | None = None, **more: Any) -> None:
        """A local activity ended: in the open turn, or between two."""
        result, encoding = CONVERTER.encode_value(value)
        outcome = self.instance.resolve(
            LocalActivityResult(activity_id=activity, result=result, encoding=encoding, failure=failure, **more)
        )
        if self.outcome is None or outcome.commands or outcome.failure is not None:
            self.outcome = outcome

    def query(self, name: str, *args: object) -> Any:
        """The answer of the cached instance; its failure is raised."""
        return self._value(self.instance.answer(self._query_task(name, args, Raw(b"[]")))[0])

    def query_anew(self, name: str, *args: object) -> Any:
        """The answer of an instance that has to replay."""
        instance = self.new_instance()
        try:
            events = Raw(encode_events(self.events))
            return self._value(instance.answer(self._query_task(name, args, events))[0])
        finally:
            instance.close()

    def _query_task(self, name: str, args: tuple[object, ...], events: Raw) -> QueryTask:
        given, named, encoding = CONVERTER.encode_args(args, {})
        query = QueryDelivery(query_id="q", query_name=name, input=given, kwargs=named, encoding=encoding)
        return QueryTask(
            token="t",
            workflow_id="w-1",
            run_id=RUN_ID,
            workflow_type=self.workflow.name,
            events=events,
            last_event_id=len(self.events),
            queries=(query,),
        )

    def _value(self, result: QueryResult) -> Any:
        if result.failure is not None:
            raise AssertionError(result.failure.message)
        return CONVERTER.decode_value(result.result, result.encoding)

    def evict(self) -> None:
        """The worker forgets the run: its next task brings the whole history."""
        self.instance.close()
        self.instance = self.new_instance()
        self.sent = 0

    def check(self) -> None:
        """Invariant 7: replaying the history gives the same commands."""
        Replayer(workflows=[self.workflow]).replay(self.events)

    def result(self) -> Any:
        """What the workflow returned."""
        (completed,) = self.of(ev.WorkflowExecutionCompleted)
        return CONVERTER.decode_value(completed.result, completed.encoding)


def update(update_id: str, name: str, *args: object) -> UpdateDelivery:
    """An update on its way to the workflow."""
    given, named, encoding = CONVERTER.encode_args(args, {})
    return UpdateDelivery(update_id=update_id, update_name=name, input=given, kwargs=named, encoding=encoding)


def names(commands: Sequence[cmd.AnyCommand]) -> list[str]:
    """The types of commands, in order."""
    return [type(command).__name__ for command in commands]
