"""Starting workflows. Law: a start reads nothing, the insert into `current_executions` decides.

A loser first looks for its request id among the executions of the workflow id (a repeat gets its own run, whatever
happened since), and only then asks the id policies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import structs

from perdure_proto import events as ev
from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import StartWorkflowAnswer, StartWorkflowRequest
from perdure_proto.tasks import WorkflowTask
from perdure_server.engine.checks import check_start
from perdure_server.engine.committer import AppendRefusedError
from perdure_server.engine.eager_start import Seat, first_task, leave
from perdure_server.engine.earlier import NO_PAST, Told
from perdure_server.engine.execution import Execution, Held
from perdure_server.engine.start_signals import check_start_signal, deliver, first_signals, signalled_before
from perdure_server.history import requests as req
from perdure_server.history.deadlines import run_deadlines
from perdure_server.history.decision import Decision, Effect, OfferActivity, OfferWorkflowTask
from perdure_server.history.evolve import begin
from perdure_server.history.transitions.chain import first_events
from perdure_server.history.transitions.cron import first_wait
from perdure_server.history.transitions.standalone import SCHEDULED_EVENT_ID, opening
from perdure_server.store.port import RunKey, RunStart

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

OnBegin = Callable[[Execution], None]

_TRIES_MAX = 10
_REUSABLE_AFTER_FAILURE = frozenset({"FAILED", "CANCELED", "TERMINATED", "TIMED_OUT"})


def stage_first_events(engine: Engine, execution: Execution, events: list[ev.AnyEvent], *, replaces: str) -> None:
    """Stages the claim of a workflow id and the first events of its run."""
    started = execution.state.started
    staged = engine.transactor.stage(execution)
    staged.start = RunStart(
        shard_id=execution.key.shard_id,
        run_id=execution.run_id,
        namespace_id=execution.namespace_id,
        workflow_id=execution.workflow_id,
        replaces=replaces,
        workflow_type=started.workflow_type,
        task_queue=started.task_queue,
        start_time=started.event_time,
        request_id=started.request_id,
        first_run_id=started.first_execution_run_id,
        memo=encoder.encode(started.memo) if started.memo else None,
        search_attributes=encoder.encode(started.search_attributes) if started.search_attributes else None,
    )
    for deadline in run_deadlines(execution.state):
        execution.add_deadline(deadline)
    effects: list[Effect] = [] if started.first_workflow_task_backoff else [OfferWorkflowTask()]
    if started.standalone_activity_id:
        effects = [OfferActivity(SCHEDULED_EVENT_ID)]
    execution.wake_owed = False
    engine.transactor.apply(execution, Decision(events, effects=effects))


class ChildStartRequest(StartWorkflowRequest, frozen=True, kw_only=True):
    """The start of a child: whose it is, and the event with which its parent asked for it."""

    parent_namespace: str
    parent_workflow_id: str
    parent_run_id: str
    parent_initiated_event_id: int


class ActivityStartRequest(StartWorkflowRequest, frozen=True, kw_only=True):
    """The start of a standalone activity: its run has this activity and no workflow."""

    activity: ev.ActivityTaskScheduled


class Starts:
    """Begins workflows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def start(
        self, namespace: str, workflow_id: str, request: StartWorkflowRequest, *, on_begin: OnBegin | None = None
    ) -> StartWorkflowAnswer:
        """Starts a workflow, or answers as the id policies say. `on_begin` sees each run that tries to begin."""
        engine = self._engine
        check_start(workflow_id, request, engine.limits)
        if request.start_signal is not None:
            check_start_signal(request.start_signal, engine.limits)
        namespace_id = (await engine.residents.namespaces.get(namespace)).namespace_id
        for _ in range(_TRIES_MAX):
            current = engine.residents.current.get((namespace, workflow_id))
            if current is None:
                execution = self._begin(namespace, namespace_id, workflow_id, request)
                _tell(on_begin, execution)
                if await self._won(execution):
                    return await self._seated(execution) if execution.seat else _started(execution)
                current = await self._current(namespace, workflow_id)
                if current is None:
                    continue
            answer = await self._against(current, request, on_begin)
            if answer is not None:
                return answer
        raise ServiceError(Code.UNAVAILABLE, f"workflow id {workflow_id!r} is contended: try again")

    async def _current(self, namespace: str, workflow_id: str) -> Execution | None:
        try:
            return await self._engine.residents.find(namespace, workflow_id)
        except ServiceError as error:
            if error.code != Code.WORKFLOW_NOT_FOUND:
                raise
            return None

    async def _won(self, execution: Execution) -> bool:
        try:
            await execution.landed()
        except AppendRefusedError:
            return False
        except BaseException:  # who has asked is gone: nobody takes the seat
            leave(self._engine, execution, execution.seat)
            raise
        return True

    async def _seated(self, execution: Execution) -> StartWorkflowAnswer:
        return _started(execution, await first_task(self._engine, execution))

    async def _against(
        self, current: Execution, request: StartWorkflowRequest, on_begin: OnBegin | None
    ) -> StartWorkflowAnswer | None:
        """The workflow id has a run: a repeat, the conflict policy, or the reuse policy. None: look again."""
        try:
            await self._engine.settled(current)
            repeat = await self._repeat(current, request)
        except ServiceError as error:
            if not isinstance(error, AppendRefusedError) and error.code != Code.VALUE_REFUSED:
                raise
            return None  # somebody else's value, perhaps: the run is read again
        if repeat is not None:
            return repeat
        if current.is_lost or self._engine.residents.current.get(current.workflow) is not current:
            return None
        if current.state.is_open:
            return await self._conflict(current, request, on_begin)
        return await self._reuse(current, request, on_begin)

    async def _repeat(self, current: Execution, request: StartWorkflowRequest) -> StartWorkflowAnswer | None:
        if not request.request_id:
            return None
        began_it = current.state.started.request_id == request.request_id and current.state.reset_at is None
        run_id = current.run_id if began_it else ""
        if not run_id:
            row = await self._engine.store.execution_by_request(
                current.namespace_id, current.workflow_id, request.request_id
            )
            run_id = row.run_id if row is not None else ""
        if not run_id and request.start_signal is not None:
            signalled = await signalled_before(self._engine, current, request.request_id)
            if signalled is not None:  # by the same request, perhaps, which came twice and waits for its commit
                await self._engine.acknowledged(signalled)
            run_id = signalled.run_id if signalled is not None else await self._took(current, request)
        if not run_id:
            return None
        task = self._engine.matching.handed(request.eager.session, request.eager.sequence) if request.eager else None
        task = task if isinstance(task, WorkflowTask) and task.run_id == run_id else None
        return StartWorkflowAnswer(workflow_id=current.workflow_id, run_id=run_id, started=False, task=task)

    async def _took(self, current: Execution, request: StartWorkflowRequest) -> str:
        """The run of an earlier chain that took the signal of a start."""
        earlier, told = self._engine.earlier, Told(request.request_id)
        if not earlier.is_known(current, told):
            await earlier.learn(current, told)
        return earlier.taken_by(current, told)

    async def _conflict(
        self, current: Execution, request: StartWorkflowRequest, on_begin: OnBegin | None
    ) -> StartWorkflowAnswer | None:
        if request.start_signal is not None and request.id_conflict_policy != "terminate_existing":
            if not await deliver(self._engine, current, request, request.start_signal):
                return None
            return StartWorkflowAnswer(workflow_id=current.workflow_id, run_id=current.run_id, started=False)
        if request.id_conflict_policy == "use_existing":
            return StartWorkflowAnswer(workflow_id=current.workflow_id, run_id=current.run_id, started=False)
        if request.id_conflict_policy == "fail":
            raise ServiceError(
                Code.WORKFLOW_ALREADY_STARTED,
                f"workflow {current.workflow_id!r} is running (run {current.run_id})",
                run_id=current.run_id,
            )
        reason = "a start with id_conflict_policy terminate_existing"
        end = self._engine.transact(current, req.TerminateExecution(reason=reason, identity=request.identity))
        if isinstance(end, Held):
            await asyncio.shield(end.later)
            if current.is_lost or current.state.is_open:
                return None
        return await self._replace(current, request, on_begin)

    async def _reuse(
        self, current: Execution, request: StartWorkflowRequest, on_begin: OnBegin | None
    ) -> StartWorkflowAnswer | None:
        policy, status = request.id_reuse_policy, current.state.status
        failed = status in _REUSABLE_AFTER_FAILURE
        if policy == "reject_duplicate" or (policy == "allow_duplicate_failed_only" and not failed):
            raise ServiceError(
                Code.WORKFLOW_ALREADY_STARTED,
                f"workflow {current.workflow_id!r} ran before ({status}) and id_reuse_policy is {policy}",
                run_id=current.run_id,
            )
        return await self._replace(current, request, on_begin)

    async def _replace(
        self, current: Execution, request: StartWorkflowRequest, on_begin: OnBegin | None
    ) -> StartWorkflowAnswer | None:
        execution = self._begin(
            current.namespace, current.namespace_id, current.workflow_id, request, replaces=current.run_id
        )
        _tell(on_begin, execution)
        if await self._won(execution):
            return await self._seated(execution) if execution.seat else _started(execution)
        self._engine.residents.remove(current)
        return None

    def _begin(
        self, namespace: str, namespace_id: int, workflow_id: str, request: StartWorkflowRequest, replaces: str = ""
    ) -> Execution:
        engine = self._engine
        shard_id = engine.residents.shard_of(namespace, workflow_id)
        engine.tenures.check(shard_id)
        engine.committer.make_room()
        run_id = engine.new_run_id()
        started = started_event(workflow_id, run_id, request, engine)
        key = RunKey(shard_id, run_id)
        execution = Execution(key, (namespace, workflow_id), namespace_id, begin(run_id, started))
        if not replaces:
            execution.past = NO_PAST
        if request.eager is not None:
            execution.seat = Seat(request.eager)
        engine.residents.add(execution, is_current=True)
        stage_first_events(engine, execution, _opening(started, request), replaces=replaces)
        return execution


def _opening(started: ev.WorkflowExecutionStarted, request: StartWorkflowRequest) -> list[ev.AnyEvent]:
    if isinstance(request, ActivityStartRequest):
        return opening(started, request.activity)
    return first_events(started, first_signals(request, started))


def _tell(on_begin: OnBegin | None, execution: Execution) -> None:
    if on_begin is not None:
        on_begin(execution)


def _started(execution: Execution, task: WorkflowTask | None = None) -> StartWorkflowAnswer:
    return StartWorkflowAnswer(workflow_id=execution.workflow_id, run_id=execution.run_id, task=task)


def started_event(
    workflow_id: str, run_id: str, request: StartWorkflowRequest, engine: Engine
) -> ev.WorkflowExecutionStarted:
    """The first event of a run that a client or a parent starts."""
    now = engine.now()
    execution_timeout = request.workflow_execution_timeout
    task_timeout = request.workflow_task_timeout or engine.limits.workflow_task_timeout
    started = ev.WorkflowExecutionStarted(
        event_id=1,
        event_time=now,
        workflow_id=workflow_id,
        workflow_type=request.workflow_type,
        task_queue=request.task_queue,
        input=request.input,
        kwargs=request.kwargs,
        encoding=request.encoding,
        identity=request.identity,
        request_id=request.request_id,
        workflow_execution_timeout=execution_timeout,
        workflow_run_timeout=request.workflow_run_timeout,
        workflow_task_timeout=min(task_timeout, engine.limits.workflow_task_timeout_max),
        workflow_execution_expiration_time=now + execution_timeout if execution_timeout else None,
        original_execution_run_id=run_id,
        first_execution_run_id=run_id,
        initiator="CRON_SCHEDULE" if request.cron_schedule else "",
        retry_policy=request.retry_policy,
        cron_schedule=request.cron_schedule,
        first_workflow_task_backoff=first_wait(request.cron_schedule, request.start_delay, now),
        memo=request.memo,
        search_attributes=request.search_attributes,
        header=request.header,
        priority=request.priority,
        static_summary=request.static_summary,
        static_details=request.static_details,
        standalone_activity_id=workflow_id if isinstance(request, ActivityStartRequest) else "",
    )
    if not isinstance(request, ChildStartRequest):
        return started
    return structs.replace(
        started,
        parent_workflow_namespace=request.parent_namespace,
        parent_workflow_id=request.parent_workflow_id,
        parent_run_id=request.parent_run_id,
        parent_initiated_event_id=request.parent_initiated_event_id,
    )
