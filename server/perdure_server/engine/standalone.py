"""Standalone activities: started, awaited, listed, described and stopped like workflows, in a namespace of their own.

Each is a run with one activity; all that holds for runs (durability, ids, retention, recovery) holds for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from perdure_proto import events as ev
from perdure_proto import service as svc
from perdure_proto.errors import Code, ServiceError
from perdure_proto.ids import activities_of
from perdure_server.engine.checks import check_activity_start
from perdure_server.engine.messages import Messages
from perdure_server.engine.reads import Reads
from perdure_server.engine.starts import ActivityStartRequest, Starts

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

_CODES = {
    Code.WORKFLOW_NOT_FOUND: Code.ACTIVITY_NOT_FOUND,
    Code.WORKFLOW_ALREADY_STARTED: Code.ACTIVITY_ALREADY_STARTED,
    Code.WORKFLOW_CLOSED: Code.ACTIVITY_CLOSED,
}


class Standalone:
    """What is asked of activities that have no workflow."""

    def __init__(self, engine: Engine, starts: Starts, messages: Messages, reads: Reads) -> None:
        self._engine = engine
        self._starts = starts
        self._messages = messages
        self._reads = reads

    async def start(
        self, namespace: str, activity_id: str, request: svc.StartActivityRequest
    ) -> svc.StartActivityAnswer:
        """Starts an activity, or answers as the id policies say."""
        check_activity_start(request, self._engine.limits)
        with as_activity(activity_id):
            answer = await self._starts.start(
                activities_of(namespace), activity_id, start_request(activity_id, request, self._engine)
            )
        return svc.StartActivityAnswer(activity_id=activity_id, run_id=answer.run_id, started=answer.started)

    async def cancel(self, namespace: str, activity_id: str, request: svc.CancelWorkflowRequest) -> svc.Acknowledged:
        """Asks the activity to stop; one that no worker runs ends at once."""
        with as_activity(activity_id):
            return await self._messages.cancel(activities_of(namespace), activity_id, request)

    async def terminate(
        self, namespace: str, activity_id: str, request: svc.TerminateWorkflowRequest
    ) -> svc.Acknowledged:
        """Ends the activity; its worker is told, and not waited for."""
        with as_activity(activity_id):
            return await self._messages.terminate(activities_of(namespace), activity_id, request)

    async def result(self, namespace: str, activity_id: str, run_id: str, wait_s: float) -> svc.ActivityResultAnswer:
        """How it ended; `RUNNING` when the wait was over first."""
        with as_activity(activity_id):
            answer = await self._reads.result(activities_of(namespace), activity_id, run_id, wait_s)
        return svc.ActivityResultAnswer(
            run_id=answer.run_id,
            status=answer.status,
            activity_type=answer.workflow_type,
            result=answer.result,
            encoding=answer.encoding,
            failure=answer.failure,
        )

    async def describe(self, namespace: str, activity_id: str, run_id: str) -> svc.DescribeActivityAnswer:
        """What it is and what its attempts did."""
        with as_activity(activity_id):
            answer = await self._reads.describe(activities_of(namespace), activity_id, run_id)
        return svc.DescribeActivityAnswer(
            execution=_info(answer.execution),
            pending=answer.pending_activities[0] if answer.pending_activities else None,
            cancel_requested=answer.cancel_requested,
            cancel_reason=answer.cancel_reason,
            static_summary=answer.static_summary,
            static_details=answer.static_details,
        )

    async def list(self, namespace: str, query: str, limit: int, cursor: str) -> svc.ListActivitiesAnswer:
        """A page, newest first."""
        answer = await self._reads.list_workflows(activities_of(namespace), query, limit, cursor)
        return svc.ListActivitiesAnswer(executions=tuple(map(_info, answer.executions)), next_cursor=answer.next_cursor)

    async def count(self, namespace: str, query: str) -> svc.CountActivitiesAnswer:
        """How many fit."""
        answer = await self._reads.count_workflows(activities_of(namespace), query)
        return svc.CountActivitiesAnswer(count=answer.count)


def start_request(activity_id: str, request: svc.StartActivityRequest, engine: Engine) -> ActivityStartRequest:
    """A run that begins with its activity scheduled."""
    start_to_close = request.start_to_close_timeout
    if start_to_close is None and request.schedule_to_close_timeout is None:
        start_to_close = engine.limits.start_to_close_default
    scheduled = ev.ActivityTaskScheduled(
        event_id=0,
        event_time=engine.now(),
        activity_id=activity_id,
        activity_type=request.activity_type,
        task_queue=request.task_queue,
        input=request.input,
        kwargs=request.kwargs,
        encoding=request.encoding,
        schedule_to_close_timeout=request.schedule_to_close_timeout,
        schedule_to_start_timeout=request.schedule_to_start_timeout,
        start_to_close_timeout=start_to_close,
        heartbeat_timeout=request.heartbeat_timeout,
        retry_policy=request.retry_policy,
        priority=request.priority,
        concurrency_key=request.concurrency_key,
        concurrency_max=request.concurrency_max,
        header=request.header,
        workflow_task_completed_event_id=0,
    )
    return ActivityStartRequest(
        workflow_type=request.activity_type,
        task_queue=request.task_queue,
        request_id=request.request_id,
        identity=request.identity,
        id_reuse_policy=request.id_reuse_policy,
        id_conflict_policy=request.id_conflict_policy,
        memo=request.memo,
        search_attributes=request.search_attributes,
        priority=request.priority,
        static_summary=request.static_summary,
        static_details=request.static_details,
        activity=scheduled,
    )


def _info(info: svc.WorkflowExecutionInfo) -> svc.ActivityExecutionInfo:
    return svc.ActivityExecutionInfo(
        activity_id=info.workflow_id,
        run_id=info.run_id,
        activity_type=info.workflow_type,
        task_queue=info.task_queue,
        status=info.status,
        start_time=info.start_time,
        close_time=info.close_time,
        memo=info.memo,
        search_attributes=info.search_attributes,
    )


@contextmanager
def as_activity(activity_id: str, hint: str = "") -> Iterator[None]:
    """Errors say activity where they would say workflow."""
    try:
        yield
    except ServiceError as error:
        code = _CODES.get(error.code)
        if code is None:
            raise
        what = {
            Code.ACTIVITY_NOT_FOUND: f"no standalone activity {activity_id!r}{hint}",
            Code.ACTIVITY_ALREADY_STARTED: f"a standalone activity {activity_id!r} was started before",
            Code.ACTIVITY_CLOSED: f"the standalone activity {activity_id!r} has ended",
        }[code]
        raise ServiceError(code, what, **error.details) from None
