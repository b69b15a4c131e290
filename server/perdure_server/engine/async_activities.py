"""Activities that are ended from elsewhere: found by the token of an attempt or by ids, then asked of the core.

Law: a token ends the attempt that it was made for and no other; ids name whatever attempt is pending, of a workflow or,
without a workflow id, of a standalone activity. What is refused
changes nothing, and each answer is given when it is durable. It must not know workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure_proto.async_activities import (
    CompleteActivityRequest,
    FailActivityRequest,
    HeartbeatActivityAnswer,
    HeartbeatActivityRequest,
    OnActivityRequest,
    ReportActivityCancellationRequest,
)
from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.ids import activities_of
from perdure_proto.payload import NULL
from perdure_proto.service import Acknowledged
from perdure_server.engine.checks import check_id, check_payload
from perdure_server.engine.execution import Execution
from perdure_server.engine.residents import is_uuid
from perdure_server.engine.standalone import as_activity
from perdure_server.engine.tokens import ActivityToken, parse
from perdure_server.history import requests as req
from perdure_server.history.decision import Decision
from perdure_server.history.state import ActivityState

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine


class AsyncActivities:
    """Ends attempts that no worker will end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def complete(self, namespace: str, request: CompleteActivityRequest) -> Acknowledged:
        """The activity returned; one that nobody has begun is completed too, where ids name it."""
        check_payload("the result", self._engine.limits, request.result)
        execution, fields = await self._find(namespace, request, begun=False)
        return await self._do(
            execution, req.CompleteActivity(**fields, result=request.result, encoding=request.encoding)
        )

    async def fail(self, namespace: str, request: FailActivityRequest) -> Acknowledged:
        """The attempt failed: retried or closed by the policy."""
        check_payload("the failure", self._engine.limits, encoder.encode(request.failure))
        check_payload("the heartbeat details", self._engine.limits, request.heartbeat_details)
        execution, fields = await self._find(namespace, request)
        if bytes(request.heartbeat_details) != bytes(NULL):
            told = req.HeartbeatActivity(**fields, details=request.heartbeat_details, encoding=request.encoding)
            self._engine.transact(execution, told)
        return await self._do(execution, req.FailActivity(**fields, failure=request.failure))

    async def report_cancellation(self, namespace: str, request: ReportActivityCancellationRequest) -> Acknowledged:
        """The attempt stopped because it was asked to."""
        check_payload("the details", self._engine.limits, request.details)
        execution, fields = await self._find(namespace, request)
        return await self._do(
            execution, req.AcknowledgeCancel(**fields, details=request.details, encoding=request.encoding)
        )

    async def heartbeat(self, namespace: str, request: HeartbeatActivityRequest) -> HeartbeatActivityAnswer:
        """The attempt goes on."""
        check_payload("the details", self._engine.limits, request.details)
        execution, fields = await self._find(namespace, request)
        beat = req.HeartbeatActivity(**fields, details=request.details, encoding=request.encoding)
        decision = self._engine.transact(execution, beat)
        await self._settled(execution, decision)
        return HeartbeatActivityAnswer(cancel_requested=bool(decision.answer))

    async def _do(self, execution: Execution, request: req.OnActivity) -> Acknowledged:
        await self._settled(execution, await self._engine.decided(execution, request))
        return Acknowledged(run_id=execution.run_id)

    async def _settled(self, execution: Execution, decision: Decision) -> None:
        if decision.refused is not None:
            await self._engine.settled(execution)
            raise decision.refused
        await self._engine.acknowledged(execution)

    async def _find(
        self, namespace: str, request: OnActivityRequest, *, begun: bool = True
    ) -> tuple[Execution, dict[str, Any]]:
        """The run and the attempt that a request is about. `begun`: the attempt must have been begun."""
        if request.task_token:
            if request.workflow_id or request.run_id or request.activity_id:
                raise ServiceError(
                    Code.INVALID_ARGUMENT,
                    "give task_token alone, or activity_id and, for one of a workflow, workflow_id",
                )
            return await self._by_token(namespace, request)
        return await self._by_ids(namespace, request, begun=begun)

    async def _by_token(self, namespace: str, request: OnActivityRequest) -> tuple[Execution, dict[str, Any]]:
        token = parse(request.task_token)
        if not isinstance(token, ActivityToken):
            raise ServiceError(Code.TASK_NOT_FOUND, "this is not the token of an activity task")
        execution: Execution | None = None
        if is_uuid(token.run_id) and self._engine.residents.has_shard(token.shard_id):
            execution = await self._engine.residents.find_run(token.shard_id, token.run_id)
        if execution is None or execution.queue_namespace != namespace or execution.key.shard_id != token.shard_id:
            raise ServiceError(Code.TASK_NOT_FOUND, f"the run of this task token is not in namespace {namespace!r}")
        activity = execution.state.activities.get(token.scheduled_event_id)
        if activity is None or not is_of(token, activity):
            await self._engine.settled(execution)
            raise ServiceError(
                Code.TASK_NOT_FOUND,
                f"attempt {token.attempt} of this task token is not pending: it was closed, timed out or is being"
                " tried again",
            )
        return execution, fields_of(activity, request, token)

    async def _by_ids(
        self, namespace: str, request: OnActivityRequest, *, begun: bool
    ) -> tuple[Execution, dict[str, Any]]:
        execution = await self._run_of(namespace, request)
        state = execution.state
        activity = state.activities.get(state.activity_ids.get(request.activity_id, 0))
        if activity is None or activity.closing or (begun and activity.started_at is None):
            await self._engine.settled(execution)
            of = f"of workflow {request.workflow_id!r} " if request.workflow_id else ""
            which = f"activity {request.activity_id!r} {of}(run {execution.run_id})"
            why = "is not pending: it has closed, or never was"
            if activity is not None and not activity.closing:
                why = "has no attempt that runs: it waits for a worker or for its next attempt"
            raise ServiceError(Code.ACTIVITY_NOT_FOUND, f"{which} {why}")
        now = max(self._engine.now(), activity.attempt_scheduled_at or activity.scheduled.event_time)
        token = ActivityToken(
            execution.key.shard_id,
            execution.run_id,
            activity.scheduled.event_id,
            activity.attempt,
            activity.started_at or now,
            activity.stamp,
        )
        return execution, fields_of(activity, request, token)

    async def _run_of(self, namespace: str, request: OnActivityRequest) -> Execution:
        """The run that has the activity: of the workflow, or its own where no workflow is named."""
        limits, residents = self._engine.limits, self._engine.residents
        if request.workflow_id or not request.activity_id:
            check_id("workflow_id", request.workflow_id, limits)
        check_id("activity_id", request.activity_id, limits)
        if request.workflow_id:
            return await residents.find(namespace, request.workflow_id, request.run_id)
        with as_activity(request.activity_id, ": for one of a workflow, give its workflow_id too"):
            return await residents.find(activities_of(namespace), request.activity_id, request.run_id)


def is_of(token: ActivityToken, activity: ActivityState) -> bool:
    """Whether a token was made for the attempt that is pending.

    Where the start is not known, for an owner died before it was kept, the token says when it was.
    """
    if activity.closing or (token.attempt, token.stamp) != (activity.attempt, activity.stamp):
        return False
    if activity.started_at is None:
        return activity.next_attempt_at is None
    return token.started_at == activity.started_at


def fields_of(activity: ActivityState, request: OnActivityRequest, token: ActivityToken) -> dict[str, Any]:
    """What every request to the core says of the attempt."""
    return {
        "scheduled_event_id": activity.scheduled.event_id,
        "attempt": activity.attempt,
        "started_at": token.started_at,
        "stamp": token.stamp,
        "identity": request.identity,
    }
