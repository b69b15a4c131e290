"""Workflow tasks: handed out in memory, written when they end.

Law: a completion is accepted if the task is open, the attempt equal and the next event id the one its token was made
for; so an owner that never saw the start can accept it too, and no two answers to one task are.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from perdure_proto import events as ev
from perdure_proto.commands import RejectUpdate
from perdure_proto.errors import Code, ServiceError
from perdure_server.config import Limits
from perdure_server.history import records as rec
from perdure_server.history import requests as req
from perdure_server.history.decision import NOTHING, Decision, Draft, Moment, OfferWorkflowTask, refuse
from perdure_server.history.evolve import FIRST_TASK_BACKOFF
from perdure_server.history.state import ExecutionState, StartedTask, WorkflowTaskState
from perdure_server.history.transitions import commands as cmd
from perdure_server.history.transitions.arrival import flush, schedule_task

_DOUBLINGS_MAX = 20


def start(state: ExecutionState, request: req.StartWorkflowTask, moment: Moment) -> Decision:
    """Gives the task to a worker; `answer` is the `StartedTask`."""
    task = state.workflow_task
    if task is None or task.started is not None or state.is_paused:
        return NOTHING
    if task.not_before is not None and moment.now < task.not_before:
        return NOTHING
    updates = tuple(list(state.admitted)[: request.updates_max])
    scheduled = task.scheduled_event_id or state.last_event_id + 1
    started = StartedTask(
        scheduled_event_id=scheduled,
        started_event_id=state.last_event_id + (1 if task.scheduled_event_id else 2),
        started_at=max(moment.now, state.last_event_time),
        session=request.session,
        updates=updates,
    )
    return Decision(records=[rec.TaskStarted(task=started)], answer=started)


def reclaim(state: ExecutionState, request: req.ReclaimWorkflowTask, moment: Moment) -> Decision:
    """A worker holds a task that a former owner gave it: it need not be given to another."""
    task = state.workflow_task
    if task is None or task.started is not None or not _fits(state, task, request):
        return NOTHING
    started = StartedTask(
        scheduled_event_id=request.scheduled_event_id,
        started_event_id=request.started_event_id,
        started_at=request.started_at,
        session=request.session,
    )
    return Decision(records=[rec.TaskStarted(task=started)])


def complete(state: ExecutionState, request: req.CompleteWorkflowTask, moment: Moment) -> Decision:
    """Writes what the worker answered: the task, its commands, then what was buffered, then the next task."""
    task = state.workflow_task
    if task is None or not _fits(state, task, request):
        return _stale(request)
    if task.started is None and cmd.names_unknown_update(state, request):
        return _stale(request)  # a former owner delivered it: it comes again to this one, and the task with it
    refused = cmd.refusal(state, request, moment)
    if refused is not None:
        return _refused(state, request, moment, refused)
    draft = Draft(state, moment)
    if task.kind == "speculative" and not request.force_new_task and _only_rejections(request):
        return _drop_speculation(draft, request)
    completed = _write_task(draft, task, request)
    turn = cmd.Turn(draft, request, completed)
    for command in request.commands:
        cmd.apply(turn, command)
    if turn.closing is None:
        _go_on(draft, turn)
    else:
        flush(draft, turn.cancelled_timers)  # nothing but firings of timers that these commands cancel
    decision = draft.decision()
    decision.new_run = turn.next_run()
    return decision


def fail(state: ExecutionState, request: req.FailWorkflowTask, moment: Moment) -> Decision:
    """Records the first failure; repeats write nothing and back off."""
    task = state.workflow_task
    if task is None or not _fits(state, task, request):
        return _stale(request)
    if task.kind == "transient":
        return _failed_again(state, task, request, moment)
    draft = Draft(state, moment)
    _write_failure(draft, task, request)
    flush(draft)
    return draft.decision()


def give_back(state: ExecutionState, request: req.ReturnWorkflowTask, moment: Moment) -> Decision:
    """The task is due again. What was buffered meanwhile is written, for nothing waits for its ids any more."""
    task = state.workflow_task
    if task is None or task.started is None or not _fits(state, task, request):
        return NOTHING
    if task.started.started_at != request.started_at:
        return NOTHING  # it came back once already, and another worker has it
    draft = Draft(state, moment)
    draft.records.append(rec.TaskReturned())
    if state.buffer:
        flush(draft)
        if task.kind == "speculative":
            schedule_task(draft)
    draft.effects.append(OfferWorkflowTask())
    return draft.decision()


def time_out(state: ExecutionState, request: req.TimeOutWorkflowTask, moment: Moment) -> Decision:
    """The worker did not answer: the first time is recorded, later ones back off like failures."""
    task = state.workflow_task
    if task is None or task.started is None or task.started.started_event_id != request.started_event_id:
        return NOTHING
    if moment.now < task.started.started_at + state.started.workflow_task_timeout:
        return NOTHING  # the deadline of an earlier hand-out: one that came back has the same ids
    if task.kind == "transient":
        again = rec.TaskFailedAgain(not_before=moment.now + backoff(task.attempt, moment), cause="START_TO_CLOSE")
        return Decision(records=[again])
    draft = Draft(state, moment)
    scheduled = task.scheduled_event_id or _write_scheduled(draft, task)
    started = draft.add(ev.WorkflowTaskStarted, at=task.started.started_at, scheduled_event_id=scheduled)
    draft.add(ev.WorkflowTaskTimedOut, scheduled_event_id=scheduled, started_event_id=started.event_id)
    flush(draft)
    draft.effects.append(OfferWorkflowTask())
    return draft.decision()


def retry(state: ExecutionState, request: req.RetryWorkflowTask, moment: Moment) -> Decision:
    """Makes a task due again whose backoff is over, or pointless because new code is there."""
    task = state.workflow_task
    if task is None or task.started is not None or task.not_before is None:
        return NOTHING
    if moment.now < task.not_before and not request.forgive:
        return NOTHING
    return Decision(records=[rec.TaskDue()], effects=[OfferWorkflowTask()])


def backoff(attempt: int, moment: Moment) -> timedelta:
    """How long a task that failed `attempt` times waits."""
    doubled = FIRST_TASK_BACKOFF * (1 << min(attempt - 1, _DOUBLINGS_MAX))
    return min(doubled, moment.limits.workflow_task_backoff_max)


def _fits(state: ExecutionState, task: WorkflowTaskState, request: req.OnTask) -> bool:
    if task.attempt != request.attempt:
        return False
    if task.started is not None and task.started.started_event_id != request.started_event_id:
        return False
    if task.scheduled_event_id:
        return (
            task.scheduled_event_id == request.scheduled_event_id
            and state.last_event_id + 1 == request.started_event_id
        )
    return state.last_event_id + 1 == request.scheduled_event_id


def _stale(request: req.OnTask) -> Decision:
    return refuse(
        Code.TASK_NOT_FOUND,
        f"the workflow task started by event {request.started_event_id} (attempt {request.attempt}) is not open:"
        " it was answered, timed out or given to another worker",
    )


def _refused(
    state: ExecutionState, request: req.CompleteWorkflowTask, moment: Moment, refused: cmd.Refusal
) -> Decision:
    """The task fails with the reason; news makes the next one immediate."""
    draft = Draft(state, moment)
    task = state.workflow_task
    assert task is not None
    failure = req.FailWorkflowTask(
        scheduled_event_id=request.scheduled_event_id,
        started_event_id=request.started_event_id,
        attempt=request.attempt,
        started_at=request.started_at,
        identity=request.identity,
        build_id=request.build_id,
        cause=refused.cause,
        failure=refused.failure,
    )
    if task.kind == "transient" and not state.buffer:
        decision = _failed_again(state, task, failure, moment)
    else:
        _write_failure(draft, task, failure)
        if flush(draft) or refused.cause == "UNHANDLED_COMMAND":
            schedule_task(draft)
        decision = draft.decision()
    if refused.cause == "UNHANDLED_COMMAND":
        decision.records = [*decision.records, rec.CloseRefused()]
    decision.refused = ServiceError(refused.code, refused.message)
    return decision


def _failed_again(
    state: ExecutionState, task: WorkflowTaskState, request: req.FailWorkflowTask, moment: Moment
) -> Decision:
    draft = Draft(state, moment)
    not_before = moment.now + backoff(task.attempt, moment)
    draft.records.append(rec.TaskFailedAgain(not_before=not_before, cause=request.cause, failure=request.failure))
    flush(draft)
    return draft.decision()


def _only_rejections(request: req.CompleteWorkflowTask) -> bool:
    return all(isinstance(command, RejectUpdate) for command in request.commands)


def _drop_speculation(draft: Draft, request: req.CompleteWorkflowTask) -> Decision:
    for command in request.commands:
        if isinstance(command, RejectUpdate):
            cmd.reject_update(draft, command)
    draft.records.append(rec.SpeculationDropped())
    draft.has_task = False
    if draft.state.buffer:
        flush(draft)
        schedule_task(draft)
    else:
        _speculate(draft, {c.update_id for c in request.commands if isinstance(c, RejectUpdate)})
    return draft.decision()


def _write_scheduled(draft: Draft, task: WorkflowTaskState) -> int:
    started = draft.state.started
    scheduled = draft.add(
        ev.WorkflowTaskScheduled,
        at=task.scheduled_at,
        task_queue=started.task_queue,
        start_to_close_timeout=started.workflow_task_timeout,
        attempt=task.attempt,
    )
    return scheduled.event_id


def _write_started(
    draft: Draft, task: WorkflowTaskState, request: req.OnTask, told_size: int | None = None
) -> tuple[int, int]:
    scheduled = task.scheduled_event_id or _write_scheduled(draft, task)
    started = draft.add(
        ev.WorkflowTaskStarted,
        at=request.started_at,
        scheduled_event_id=scheduled,
        identity=request.identity,
        suggest_continue_as_new=suggests_continue_as_new(draft.state, draft.limits),
        history_size_bytes=draft.state.history_bytes if told_size is None else told_size,
        build_id=request.build_id,
    )
    return scheduled, started.event_id


def suggests_continue_as_new(state: ExecutionState, limits: Limits) -> bool:
    """Whether the run is long enough that it should go on as a new one."""
    return state.last_event_id >= limits.history_events_suggest or state.history_bytes >= limits.history_bytes_suggest


def _write_task(draft: Draft, task: WorkflowTaskState, request: req.CompleteWorkflowTask) -> int:
    scheduled, started = _write_started(draft, task, request, request.history_size_bytes)
    completed = draft.add(
        ev.WorkflowTaskCompleted,
        scheduled_event_id=scheduled,
        started_event_id=started,
        identity=request.identity,
        build_id=request.build_id,
        current_details=request.current_details,
    )
    draft.has_task = False
    return completed.event_id


def _write_failure(draft: Draft, task: WorkflowTaskState, request: req.FailWorkflowTask) -> None:
    scheduled, started = _write_started(draft, task, request)
    draft.add(
        ev.WorkflowTaskFailed,
        scheduled_event_id=scheduled,
        started_event_id=started,
        cause=request.cause,
        failure=request.failure,
        identity=request.identity,
        build_id=request.build_id,
    )


def _go_on(draft: Draft, turn: cmd.Turn) -> None:
    news = flush(draft, turn.cancelled_timers)
    if news or turn.has_news or turn.request.force_new_task:
        schedule_task(draft)
        return
    _speculate(draft, turn.settled_updates)


def _speculate(draft: Draft, settled: Collection[str]) -> None:
    """Updates that came while the task ran need one of their own."""
    admitted = draft.state.admitted.items()
    if any(update_id not in settled and not update.delivered for update_id, update in admitted):
        draft.records.append(rec.TaskSpeculated(at=draft.now))
        draft.effects.append(OfferWorkflowTask())
