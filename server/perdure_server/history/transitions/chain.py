"""The next run of a chain: continue-as-new, retries and cron begin it in the transaction that closes this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct, structs

from perdure_proto import events as ev
from perdure_proto.commands import ContinueAsNewWorkflowExecution
from perdure_proto.failures import Failure
from perdure_server.history.decision import NewRun
from perdure_server.history.state import ExecutionState, update_key

CARRIED_FOR = timedelta(minutes=10)
CARRIED_MAX = 10_000


class Successor(Struct, frozen=True, kw_only=True):
    """What the next run is to be like."""

    run_id: str
    now: datetime
    initiator: ev.Initiator
    backoff: timedelta = timedelta(0)
    failure: Failure | None = None
    signals: Sequence[ev.WorkflowExecutionSignaled] = ()
    task_timeout_max: timedelta = timedelta.max
    settled: Mapping[str, bool] = {}
    """Updates that this very task accepted (true) or rejected: they do not move on, the accepted are remembered."""


def first_task_at(started: ev.WorkflowExecutionStarted) -> datetime:
    """When the first workflow task is due, unless something ends the wait for it."""
    return started.event_time + started.first_workflow_task_backoff


def first_events(
    started: ev.WorkflowExecutionStarted, signals: Sequence[ev.WorkflowExecutionSignaled] = ()
) -> list[ev.AnyEvent]:
    """The events that open a run: Started, signals that come with it, and the first workflow task unless it waits."""
    events: list[ev.AnyEvent] = [started]
    for event_id, signal in enumerate(signals, 2):
        events.append(structs.replace(signal, event_id=event_id, event_time=started.event_time))
    if not started.first_workflow_task_backoff:
        events.append(_first_task(started, len(events) + 1))
    return events


def continue_as_new(state: ExecutionState, command: ContinueAsNewWorkflowExecution, successor: Successor) -> NewRun:
    """The next run as the workflow asked for it; what the command leaves open is taken from this one."""
    old = state.started
    changes: dict[str, Any] = {
        "workflow_type": command.workflow_type or old.workflow_type,
        "task_queue": command.task_queue or old.task_queue,
        "input": command.input,
        "kwargs": command.kwargs,
        "encoding": command.encoding,
        "workflow_run_timeout": command.workflow_run_timeout or old.workflow_run_timeout,
        "workflow_task_timeout": min(
            command.workflow_task_timeout or old.workflow_task_timeout, successor.task_timeout_max
        ),
        "retry_policy": command.retry_policy or old.retry_policy,
        "header": command.header or old.header,
        "attempt": 1,
    }
    for name in ("memo", "search_attributes"):
        if getattr(command, name) is not None:
            changes[name] = getattr(command, name)
    return _new_run(state, successor, changes)


def try_again(state: ExecutionState, successor: Successor) -> NewRun:
    """The same run once more, after a failure."""
    return _new_run(state, successor, {"attempt": state.started.attempt + 1})


def on_schedule(state: ExecutionState, successor: Successor, last_result: dict[str, Any]) -> NewRun:
    """The same run at the next tick of its schedule. Where this one gave no result, the one before it goes on."""
    return _new_run(state, successor, {"attempt": 1, **last_result})


def _new_run(state: ExecutionState, successor: Successor, changes: dict[str, Any]) -> NewRun:
    started = structs.replace(
        state.started,
        event_id=1,
        event_time=successor.now,
        request_id="",
        carried_request_ids=_carried(state, successor),
        original_execution_run_id=successor.run_id,
        continued_execution_run_id=state.run_id,
        workflow_execution_expiration_time=state.execution_expires_at,
        initiator=successor.initiator,
        continued_failure=successor.failure,
        first_workflow_task_backoff=successor.backoff,
        **{"memo": state.memo, "search_attributes": state.search_attributes, **changes},
    )
    moved = tuple(
        (update.delivery, update.identity)
        for update_id, update in state.admitted.items()
        if update_id not in successor.settled
    )
    return NewRun(successor.run_id, first_events(started, successor.signals), moved)


def _first_task(started: ev.WorkflowExecutionStarted, event_id: int) -> ev.WorkflowTaskScheduled:
    return ev.WorkflowTaskScheduled(
        event_id=event_id,
        event_time=started.event_time,
        task_queue=started.task_queue,
        start_to_close_timeout=started.workflow_task_timeout,
    )


def _carried(state: ExecutionState, successor: Successor) -> dict[str, datetime]:
    now = successor.now
    recent = [(at, key) for key, at in state.request_ids.items() if now - at <= CARRIED_FOR]
    recent.extend((now, update_key(update_id)) for update_id, accepted in successor.settled.items() if accepted)
    recent.sort()
    return {key: at for at, key in recent[-CARRIED_MAX:]}
