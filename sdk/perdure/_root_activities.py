"""The end of a client's chain of interceptors for activities: the requests themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import uuid4

from perdure import _outbound_activities as given
from perdure._failures import exception_of, failure_of
from perdure._headers import headers_of
from perdure._history import WorkflowExecutionStatus
from perdure._notes import plain_attributes, plain_memo
from perdure._query import LIST_PAGE_MAX
from perdure._service import Service
from perdure._standalone import (
    ActivityExecution,
    ActivityExecutionDescription,
    StandaloneActivityHandle,
    StartActivityOptions,
)
from perdure.exceptions import (
    ActivityAlreadyStartedError,
    ActivityFailureError,
    AsyncActivityCancelledError,
    RPCError,
)
from perdure_proto import async_activities as act
from perdure_proto import service as svc
from perdure_proto.errors import Code

_OPEN: Final[frozenset[str]] = frozenset({"RUNNING", "PAUSED"})
_START_OPTIONS: Final = tuple(name for name in StartActivityOptions.__annotations__ if name != "id")


class ActivityCalls:
    """What really happens to activities."""

    _service: Service

    async def start_activity(self, input: given.StartActivityInput) -> StandaloneActivityHandle[Any]:
        """Starts it."""
        try:
            answer = await self._service.start_activity(input.id, self._start_request(input))
        except RPCError as error:
            if error.code != Code.ACTIVITY_ALREADY_STARTED:
                raise
            run_id = error.details.get("run_id")
            raise ActivityAlreadyStartedError(input.id, input.activity_type, run_id=run_id) from error
        return StandaloneActivityHandle(self._service, input.id, run_id=answer.run_id, result_type=input.result_type)

    def _start_request(self, input: given.StartActivityInput) -> svc.StartActivityRequest:
        positional, kwargs, encoding = self._service.converter.encode_args(input.args, input.kwargs, input.arg_types)
        fields = {name: value for name in _START_OPTIONS if (value := getattr(input, name)) is not None}
        for name, plain in (("memo", plain_memo), ("search_attributes", plain_attributes)):
            if name in fields:
                fields[name] = plain(fields[name])
        fields.setdefault("request_id", str(uuid4()))
        return svc.StartActivityRequest(
            activity_type=input.activity_type,
            input=positional,
            kwargs=kwargs,
            encoding=encoding,
            identity=self._service.identity,
            header=headers_of(input.headers),
            **fields,
        )

    async def get_activity_result(self, input: given.GetActivityResultInput) -> Any:
        """Waits for it."""
        while True:
            answer = await self._service.activity_result(input.activity_id, input.activity_run_id or "")
            if answer.status not in _OPEN:
                break
        converter = self._service.converter
        if answer.failure is not None:
            raise ActivityFailureError(cause=exception_of(answer.failure, converter))
        return converter.decode_value(answer.result, answer.encoding, input.result_type)

    async def describe_activity(self, input: given.DescribeActivityInput) -> ActivityExecutionDescription:
        """Looks at it."""
        answer = await self._service.describe_activity(input.activity_id, input.activity_run_id or "")
        return ActivityExecutionDescription(
            **_fields(answer.execution),
            pending=answer.pending,
            cancel_requested=answer.cancel_requested,
            cancel_reason=answer.cancel_reason,
            static_summary=answer.static_summary,
            static_details=answer.static_details,
        )

    async def cancel_activity(self, input: given.CancelActivityInput) -> None:
        """Asks it to stop."""
        request = svc.CancelWorkflowRequest(
            run_id=input.activity_run_id or "",
            reason=input.reason,
            request_id=str(uuid4()),
            identity=self._service.identity,
        )
        await self._service.cancel_activity(input.activity_id, request)

    async def terminate_activity(self, input: given.TerminateActivityInput) -> None:
        """Ends it."""
        request = svc.TerminateWorkflowRequest(
            run_id=input.activity_run_id or "", reason=input.reason, identity=self._service.identity
        )
        await self._service.terminate_activity(input.activity_id, request)

    async def list_activities(self, input: given.ListActivitiesInput) -> AsyncIterator[ActivityExecution]:
        """Reads the list."""
        cursor, left = "", input.limit
        while left is None or left > 0:
            page = LIST_PAGE_MAX if left is None else min(left, LIST_PAGE_MAX)
            answer = await self._service.list_activities(input.query, limit=page, cursor=cursor)
            for info in answer.executions[:left]:
                yield ActivityExecution(**_fields(info))
            left = None if left is None else left - len(answer.executions)
            cursor = answer.next_cursor
            if not cursor:
                return

    async def count_activities(self, input: given.CountActivitiesInput) -> svc.CountActivitiesAnswer:
        """Counts."""
        return await self._service.count_activities(input.query)

    async def heartbeat_async_activity(self, input: given.HeartbeatAsyncActivityInput) -> None:
        """Says that it goes on."""
        raw, encoding = self._service.converter.encode_values(input.details)
        request = act.HeartbeatActivityRequest(**self._which(input.id_or_token), details=raw, encoding=encoding)
        if (await self._service.heartbeat_activity(request)).cancel_requested:
            raise AsyncActivityCancelledError("the activity was asked to stop")

    async def complete_async_activity(self, input: given.CompleteAsyncActivityInput) -> None:
        """Completes it."""
        raw, encoding = self._service.converter.encode_value(input.result)
        request = act.CompleteActivityRequest(**self._which(input.id_or_token), result=raw, encoding=encoding)
        await self._service.complete_activity(request)

    async def fail_async_activity(self, input: given.FailAsyncActivityInput) -> None:
        """Fails its attempt."""
        raw, encoding = self._service.converter.encode_values(input.last_heartbeat_details)
        request = act.FailActivityRequest(
            **self._which(input.id_or_token),
            failure=failure_of(input.error, self._service.converter),
            heartbeat_details=raw,
            encoding=encoding,
        )
        await self._service.fail_activity(request)

    async def report_cancellation_async_activity(self, input: given.ReportCancellationAsyncActivityInput) -> None:
        """Says that it has stopped."""
        raw, encoding = self._service.converter.encode_values(input.details)
        request = act.ReportActivityCancellationRequest(
            **self._which(input.id_or_token), details=raw, encoding=encoding
        )
        await self._service.report_activity_cancellation(request)

    def _which(self, id_or_token: given.AsyncActivityIDReference | bytes) -> dict[str, str]:
        """The fields of a request that name the activity and the caller."""
        mine = {"identity": self._service.identity}
        if isinstance(id_or_token, bytes):
            return {**mine, "task_token": id_or_token.decode("ascii", "backslashreplace")}
        return {
            **mine,
            "workflow_id": id_or_token.workflow_id or "",
            "run_id": id_or_token.run_id or "",
            "activity_id": id_or_token.activity_id,
        }


def _fields(info: svc.ActivityExecutionInfo) -> dict[str, Any]:
    names = ("run_id", "activity_type", "task_queue", "start_time", "close_time", "memo", "search_attributes")
    found = {name: getattr(info, name) for name in names}
    return {"id": info.activity_id, "status": WorkflowExecutionStatus(info.status), **found}
