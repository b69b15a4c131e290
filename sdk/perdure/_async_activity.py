"""An activity that is ended from elsewhere, as whoever has its token or its ids sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from perdure._failures import failure_of
from perdure._service import Service
from perdure.exceptions import AsyncActivityCancelledError
from perdure_proto.async_activities import (
    CompleteActivityRequest,
    FailActivityRequest,
    HeartbeatActivityRequest,
    ReportActivityCancellationRequest,
)


class ActivityAddress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which activity: by its token, or by its ids."""

    task_token: str = ""
    workflow_id: str = ""
    run_id: str = ""
    activity_id: str = ""

    def fields(self) -> dict[str, str]:
        """As fields of a request."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class AsyncActivityHandle:
    """Ends an activity that left its worker with `activity.raise_complete_async()`; made by the client.

    Every method raises `RPCError` with one of these codes: `TASK_NOT_FOUND`, the token is none, is of another
    namespace, or its attempt is over; `ACTIVITY_NOT_FOUND`, no such activity is pending; `WORKFLOW_NOT_FOUND`.
    A completion that is repeated after it was carried out finds nothing pending.

    Example:
        ``await client.get_async_activity_handle(task_token=token).complete("approved")``
    """

    def __init__(self, service: Service, address: ActivityAddress) -> None:
        self._service = service
        self._fields = {**address.fields(), "identity": service.identity}

    async def heartbeat(self, *details: Any) -> None:
        """Says that the attempt goes on; the next attempt, if there is one, finds the details.

        Raises `AsyncActivityCancelledError` when the activity was asked to stop, `RPCError` as above.

        Example:
            ``await handle.heartbeat("half of it is read")``
        """
        raw, encoding = self._service.converter.encode_values(details)
        request = HeartbeatActivityRequest(**self._fields, details=raw, encoding=encoding)
        if (await self._service.heartbeat_activity(request)).cancel_requested:
            raise AsyncActivityCancelledError("the activity was asked to stop")

    async def complete(self, result: Any = None) -> None:
        """Completes the activity; None is its result by default.

        Raises `ConversionError` for a result that cannot be written, `RPCError` as above.

        Example:
            ``await handle.complete("approved")``
        """
        raw, encoding = self._service.converter.encode_value(result)
        request = CompleteActivityRequest(**self._fields, result=raw, encoding=encoding)
        await self._service.complete_activity(request)

    async def fail(self, error: BaseException, *, last_heartbeat_details: Sequence[Any] = ()) -> None:
        """Fails the attempt: the retry policy says whether there is another.

        Args:
            error: what went wrong; an `ApplicationError` can say that it is not to be retried, or when.
            last_heartbeat_details: what the next attempt finds. Default: what the last heartbeat carried.

        Raises `RPCError` as above.

        Example:
            ``await handle.fail(ApplicationError("nobody answered", type="Unanswered", non_retryable=True))``
        """
        raw, encoding = self._service.converter.encode_values(last_heartbeat_details)
        failure = failure_of(error, self._service.converter)
        request = FailActivityRequest(**self._fields, failure=failure, heartbeat_details=raw, encoding=encoding)
        await self._service.fail_activity(request)

    async def report_cancellation(self, *details: Any) -> None:
        """Says that the activity has stopped because it was asked to.

        Raises `RPCError`: `INVALID_ARGUMENT` when nobody asked it to stop, and as above.

        Example:
            ``await handle.report_cancellation()``
        """
        raw, encoding = self._service.converter.encode_values(details)
        request = ReportActivityCancellationRequest(**self._fields, details=raw, encoding=encoding)
        await self._service.report_activity_cancellation(request)


def address_of(
    task_token: object, workflow_id: str | None, run_id: str | None, activity_id: str | None
) -> ActivityAddress:
    """What `get_async_activity_handle` was given. Raises `TypeError` or `ValueError` for anything but one address."""
    if task_token is not None:
        if workflow_id is not None or run_id is not None or activity_id is not None:
            raise ValueError("give task_token alone, or workflow_id and activity_id")
        if not isinstance(task_token, bytes):
            raise TypeError(f"task_token is the bytes of activity.info().task_token, not {task_token!r}")
        return ActivityAddress(task_token=task_token.decode("ascii", "backslashreplace"))
    if not workflow_id or not activity_id:
        raise ValueError("give task_token, or workflow_id and activity_id")
    return ActivityAddress(workflow_id=workflow_id, run_id=run_id or "", activity_id=activity_id)
