"""Reads: what a run is, what happened to it, how it ended. Each sees all that was acknowledged before it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from perdure_proto import events as ev
from perdure_proto import service as svc
from perdure_proto.codec import decode_events, join_arrays
from perdure_proto.errors import Code, ServiceError
from perdure_proto.failures import CanceledFailure, Failure, TerminatedFailure, TimeoutFailure
from perdure_proto.namespaces import CreateNamespaceRequest, ListNamespacesAnswer, NamespaceInfo, UpdateNamespaceRequest
from perdure_server.engine.checks import check_id
from perdure_server.engine.execution import Execution
from perdure_server.history.deadlines import expires_at
from perdure_server.history.retry import DEFAULT_POLICY
from perdure_server.history.state import ActivityState, ChildState, ExecutionState
from perdure_server.history.transitions.activity import deadline
from perdure_server.history.transitions.arrival import cancel_reason, is_waiting
from perdure_server.matching.port import TaskKind
from perdure_server.store.port import STATUS_NAMES, ExecutionRow, HistoryRow, NamespaceChange, NamespaceRow

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

ActivityStateName = Literal["SCHEDULED", "STARTED", "BACKING_OFF", "CANCEL_REQUESTED", "PAUSED"]

_PAGE_MAX = 1_000
_RETENTION_MIN = timedelta(hours=1)


class Reads:
    """Answers questions of clients and operators."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def result(self, namespace: str, workflow_id: str, run_id: str, wait_s: float) -> svc.WorkflowResultAnswer:
        """How a run ended; `RUNNING` when the wait was over first."""
        execution = await self._engine.residents.find(namespace, workflow_id, run_id)
        was_open = execution.state.is_open
        if was_open and wait_s > 0:
            await self._wait(execution, execution.result_waiters, wait_s)
        answer = result_answer(execution)
        if not (was_open and execution.state.closed and execution.batch is None):  # else its close confirms the read
            await self._engine.settled(execution)
        return answer

    async def history(
        self, namespace: str, workflow_id: str, run_id: str, after: int, wait_s: float
    ) -> svc.HistoryAnswer:
        """Events after an id; waits for news where there are none."""
        execution = await self._engine.residents.find(namespace, workflow_id, run_id)
        await self._engine.settled(execution)
        if wait_s > 0 and execution.state.is_open and execution.state.last_event_id <= after:
            await self._wait(execution, execution.event_waiters, wait_s)
            await execution.landed()
        rows = await self._engine.store.history(
            execution.key.shard_id, execution.run_id, after, self._engine.settings.history_page_rows
        )
        # Memory may be ahead of what was read: a run that closed meanwhile has more to tell.
        is_last = (rows[-1].last_event_id if rows else after) >= execution.state.last_event_id
        following = 0 if is_last and not execution.state.is_open else (rows[-1].last_event_id if rows else after) + 1
        return svc.HistoryAnswer(
            run_id=execution.run_id, events=msgspec.Raw(_events_after(rows, after)), next_event_id=following
        )

    async def describe(self, namespace: str, workflow_id: str, run_id: str) -> svc.DescribeWorkflowAnswer:
        """What a run is and what it waits for."""
        execution = await self._engine.residents.find(namespace, workflow_id, run_id)
        answer = self._description(execution)
        if not execution.state.is_open:
            reset_run_id = await self._engine.store.reset_run(execution.key.shard_id, execution.run_id)
            answer = msgspec.structs.replace(answer, reset_run_id=reset_run_id)
        await self._engine.settled(execution)  # after the look: memory runs ahead of the log
        return answer

    def _description(self, execution: Execution) -> svc.DescribeWorkflowAnswer:
        state, started = execution.state, execution.state.started
        asked = cancel_reason(state)
        return svc.DescribeWorkflowAnswer(
            execution=_info(execution),
            first_execution_run_id=started.first_execution_run_id,
            continued_run_id=started.continued_execution_run_id,
            new_run_id=getattr(state.closed, "new_execution_run_id", ""),
            execution_time=state.first_task_at or started.event_time,
            execution_expiration_time=state.execution_expires_at,
            run_expiration_time=expires_at(state),
            initiator=started.initiator,
            cron_schedule=started.cron_schedule,
            last_failure=started.continued_failure,
            workflow_execution_timeout=started.workflow_execution_timeout,
            workflow_run_timeout=started.workflow_run_timeout,
            workflow_task_timeout=started.workflow_task_timeout,
            retry_policy=started.retry_policy,
            attempt=started.attempt,
            cancel_requested=asked is not None,
            cancel_reason=asked or "",
            pause=_pause(execution),
            pending_workflow_task=self._pending_task(execution),
            pending_activities=tuple(self._pending_activity(execution, each) for each in state.activities.values()),
            pending_children=tuple(map(_pending_child, state.children.values())) if state.is_open else (),
            pending_messages=len(state.messages) if state.is_open else 0,
            pending_timers=len(state.timers),
            updates_in_flight=len(state.admitted) + state.updates_open,
            sticky_worker=self._sticky_worker(execution),
            static_summary=started.static_summary,
            static_details=started.static_details,
            parent_namespace=started.parent_workflow_namespace,
            parent_workflow_id=started.parent_workflow_id,
            parent_run_id=started.parent_run_id,
            current_details=state.current_details,
        )

    async def list_workflows(self, namespace: str, query: str, limit: int, cursor: str) -> svc.ListWorkflowsAnswer:
        """A page of executions, newest first."""
        row = await self._engine.residents.namespaces.get(namespace)
        if not 1 <= limit <= _PAGE_MAX:
            raise ServiceError(Code.INVALID_ARGUMENT, f"limit must be from 1 to {_PAGE_MAX}")
        await self._engine.committer.drain()
        rows, following = await self._engine.store.list_executions(row.namespace_id, query, cursor, limit)
        return svc.ListWorkflowsAnswer(executions=tuple(map(self._row_info, rows)), next_cursor=following)

    async def count_workflows(self, namespace: str, query: str) -> svc.CountWorkflowsAnswer:
        """How many executions fit."""
        row = await self._engine.residents.namespaces.get(namespace)
        await self._engine.committer.drain()
        count, groups = await self._engine.store.count_executions(row.namespace_id, query)
        return svc.CountWorkflowsAnswer(count=count, groups=groups)

    async def create_namespace(self, name: str, request: CreateNamespaceRequest) -> NamespaceInfo:
        """A new namespace. Raises `NAMESPACE_ALREADY_EXISTS`."""
        check_id("namespace", name, self._engine.limits)
        check_retention(request.retention)
        check_rps_max(request.rps_max)
        row = await self._engine.store.create_namespace(name, request.description, request.retention)
        if row is None:
            raise ServiceError(Code.NAMESPACE_ALREADY_EXISTS, f"namespace {name!r} exists")
        if request.rps_max:
            row = await self._engine.store.update_namespace(name, NamespaceChange(rps_max=request.rps_max)) or row
        self._engine.residents.learn([row])
        return _namespace_info(row)

    async def update_namespace(self, name: str, request: UpdateNamespaceRequest) -> NamespaceInfo:
        """The namespace as it is now. Raises `NAMESPACE_NOT_FOUND`."""
        check_retention(_RETENTION_MIN if request.retention is None else request.retention)
        check_rps_max(request.rps_max or 0.0)
        change = NamespaceChange(description=request.description, retention=request.retention, rps_max=request.rps_max)
        row = await self._engine.store.update_namespace(name, change)
        if row is None:
            raise ServiceError(Code.NAMESPACE_NOT_FOUND, f"no namespace {name!r}")
        self._engine.residents.learn([row])
        return _namespace_info(row)

    async def describe_namespace(self, name: str) -> NamespaceInfo:
        """One namespace."""
        return _namespace_info(await self._engine.residents.namespaces.get(name))

    async def list_namespaces(self) -> ListNamespacesAnswer:
        """All of them."""
        namespaces = self._engine.residents.namespaces
        await namespaces.look_again()
        rows = sorted(namespaces.by_name.values(), key=lambda row: row.name)
        return ListNamespacesAnswer(namespaces=tuple(map(_namespace_info, rows)))

    async def _wait(self, execution: Execution, waiters: list[asyncio.Future[None]], wait_s: float) -> None:
        """Until what is waited for has happened, or the time is over. Raises when memory lets go of the run."""
        if execution.is_lost:
            raise self._engine.refusal(execution)  # nobody would wake who waits for it
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        waiters.append(waiter)
        longest = self._engine.limits.long_poll_max.total_seconds()
        timer = loop.call_later(min(wait_s, longest), _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            if waiter in waiters:
                waiters.remove(waiter)
        if execution.is_lost:
            raise self._engine.refusal(execution)

    def _pending_task(self, execution: Execution) -> svc.PendingWorkflowTask | None:
        task = execution.state.workflow_task
        if task is None:
            return _waiting_task(execution.state)
        backs_off = task.not_before is not None and task.not_before > self._engine.now()
        started = execution.state.started
        note = "" if task.started else self._note(execution, started.task_queue, "workflow", started.workflow_type)
        return svc.PendingWorkflowTask(
            state="STARTED" if task.started else "BACKING_OFF" if backs_off else "SCHEDULED",
            attempt=task.attempt,
            scheduled_time=task.scheduled_at,
            started_time=task.started.started_at if task.started else None,
            next_attempt_time=task.not_before,
            last_failure=task.last_failure,
            last_failure_cause=task.last_failure_cause,
            note=note,
        )

    def _pending_activity(self, execution: Execution, activity: ActivityState) -> svc.PendingActivity:
        scheduled = activity.scheduled
        queue = scheduled.task_queue or execution.state.started.task_queue
        waits = activity.started_at is None and activity.next_attempt_at is None
        return svc.PendingActivity(
            activity_id=scheduled.activity_id,
            activity_type=scheduled.activity_type,
            state=_activity_state(activity),
            attempt=activity.attempt,
            maximum_attempts=(scheduled.retry_policy or DEFAULT_POLICY).maximum_attempts,
            scheduled_event_id=scheduled.event_id,
            scheduled_time=scheduled.event_time,
            last_started_time=activity.started_at,
            last_heartbeat_time=activity.heartbeat_at,
            next_attempt_time=activity.next_attempt_at,
            expiration_time=deadline(activity, "SCHEDULE_TO_CLOSE"),
            heartbeat_details=activity.heartbeat_details,
            last_failure=activity.last_failure,
            last_worker_identity=activity.identity,
            task_queue=queue,
            note=self._waits_for(execution, activity, queue) if waits else "",
            pause=_activity_pause(activity),
            transactional=activity.transactional,
        )

    def _waits_for(self, execution: Execution, activity: ActivityState, queue: str) -> str:
        permit = self._engine.permits.waits_for(execution, activity.scheduled.event_id)
        return permit or self._note(execution, queue, "activity", activity.scheduled.activity_type)

    def _sticky_worker(self, execution: Execution) -> str:
        session = self._engine.matching.session(execution.sticky_session)
        return session.worker.identity if session is not None else ""

    def _row_info(self, row: ExecutionRow) -> svc.WorkflowExecutionInfo:
        """The row has the length at the start and at the close; in between, memory knows it."""
        resident = self._engine.residents.by_run.get(row.run_id)
        if resident is not None:
            row.history_length = resident.state.last_event_id
        return _row_info(row)

    def _note(self, execution: Execution, queue: str, kind: TaskKind, type_name: str) -> str:
        if self._engine.matching.knows(execution.namespace, queue, kind, type_name):
            return ""
        pollers = self._engine.matching.describe(execution.namespace, queue).pollers
        if not pollers:
            return f"no worker polls task queue {queue!r}"
        return f"no worker on task queue {queue!r} knows {kind} type {type_name!r}"


def result_answer(execution: Execution) -> svc.WorkflowResultAnswer:
    """How a run ended, from its closing event."""
    state = execution.state
    closed: Any = state.closed
    what = "the workflow" if execution.namespace == execution.queue_namespace else "the activity"
    return svc.WorkflowResultAnswer(
        run_id=execution.run_id,
        status=state.status,
        workflow_type=state.started.workflow_type,
        result=getattr(closed, "result", msgspec.Raw(b"null")),
        encoding=getattr(closed, "encoding", ""),
        failure=_failure(closed, what, execution.state.cancel_reason),
        new_run_id=getattr(closed, "new_execution_run_id", ""),
    )


_WAITS_FOR: dict[ev.Initiator, str] = {
    "": "the first task waits for the end of its start delay",
    "WORKFLOW": "the first task waits, as the run before asked",
    "RETRY": "the next attempt waits for its backoff",
    "CRON_SCHEDULE": "the first task waits for the next tick of the cron schedule",
}


def _waiting_task(state: ExecutionState) -> svc.PendingWorkflowTask | None:
    """The first task of a run, while it is still to come."""
    if not state.is_open or not is_waiting(state):
        return None
    return svc.PendingWorkflowTask(
        state="BACKING_OFF", next_attempt_time=state.first_task_at, note=_WAITS_FOR[state.started.initiator]
    )


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _failure(closed: ev.AnyEvent | None, what: str, cancel_reason: str) -> Failure | None:
    if isinstance(closed, ev.WorkflowExecutionFailed):
        return closed.failure
    if isinstance(closed, ev.WorkflowExecutionCanceled):
        info = CanceledFailure(details=closed.details, encoding=closed.encoding)
        return Failure(message=cancel_reason or f"{what} was cancelled", info=info)
    if isinstance(closed, ev.WorkflowExecutionTerminated):
        return Failure(message=closed.reason or f"{what} was terminated", info=TerminatedFailure())
    if isinstance(closed, ev.WorkflowExecutionTimedOut):
        if closed.failure is not None:
            return closed.failure
        return Failure(message=f"{what} timed out", info=TimeoutFailure(timeout_type="START_TO_CLOSE"))
    return None


def _events_after(rows: Sequence[HistoryRow], after: int) -> bytes:
    """Rows as one array, without the events that the caller has."""
    if rows and rows[0].first_event_id <= after:
        later = [event for event in decode_events(rows[0].events) if event.event_id > after]
        return join_arrays([msgspec.json.encode(later), *(row.events for row in rows[1:])])
    return join_arrays([row.events for row in rows])


def _activity_state(activity: ActivityState) -> ActivityStateName:
    if activity.cancel_requested_event_id:
        return "CANCEL_REQUESTED"
    if activity.started_at is not None:
        return "STARTED"
    if activity.paused is not None:
        return "PAUSED"
    return "BACKING_OFF" if activity.next_attempt_at is not None else "SCHEDULED"


def _activity_pause(activity: ActivityState) -> svc.PauseInfo | None:
    paused = activity.paused
    if paused is None:
        return None
    return svc.PauseInfo(paused_at=paused.at, identity=paused.identity, reason=paused.reason)


def _pause(execution: Execution) -> svc.PauseInfo | None:
    paused = execution.state.paused
    if paused is None:
        return None
    return svc.PauseInfo(paused_at=paused.event_time, identity=paused.identity, reason=paused.reason)


def _info(execution: Execution) -> svc.WorkflowExecutionInfo:
    state, started = execution.state, execution.state.started
    return svc.WorkflowExecutionInfo(
        workflow_id=execution.workflow_id,
        run_id=execution.run_id,
        workflow_type=started.workflow_type,
        task_queue=started.task_queue,
        status=state.status,
        start_time=state.reset_at or started.event_time,
        close_time=state.closed.event_time if state.closed is not None else None,
        history_length=state.last_event_id,
        memo=state.memo,
        search_attributes=state.search_attributes,
    )


def _row_info(row: ExecutionRow) -> svc.WorkflowExecutionInfo:
    return svc.WorkflowExecutionInfo(
        workflow_id=row.workflow_id,
        run_id=row.run_id,
        workflow_type=row.workflow_type,
        task_queue=row.task_queue,
        status=STATUS_NAMES[row.status],  # type: ignore[arg-type]  # the table has the literal's words
        start_time=row.start_time,
        close_time=row.close_time,
        history_length=row.history_length,
        memo=msgspec.json.decode(row.memo) if row.memo else {},
        search_attributes=msgspec.json.decode(row.search_attributes) if row.search_attributes else {},
    )


def _namespace_info(row: NamespaceRow) -> NamespaceInfo:
    return NamespaceInfo(
        name=row.name,
        description=row.description,
        retention=row.retention,
        created_at=row.created_at,
        rps_max=row.rps_max,
    )


def check_retention(retention: timedelta) -> None:
    """Raises `INVALID_ARGUMENT`."""
    if retention < _RETENTION_MIN:
        raise ServiceError(Code.INVALID_ARGUMENT, "retention must be at least 1 hour")


def check_rps_max(rps_max: float) -> None:
    """Raises `INVALID_ARGUMENT`."""
    if not 0 <= rps_max < float("inf"):
        raise ServiceError(Code.INVALID_ARGUMENT, "rps_max must be a positive number, or 0 for no limit")


def _pending_child(child: ChildState) -> svc.PendingChild:
    return svc.PendingChild(
        workflow_id=child.initiated.workflow_id,
        run_id=child.run_id,
        workflow_type=child.initiated.workflow_type,
        namespace=child.initiated.namespace,
        initiated_event_id=child.initiated.event_id,
        parent_close_policy=child.initiated.parent_close_policy,
    )
