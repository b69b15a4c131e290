"""An activity that is ended from elsewhere, as whoever has its token or its ids sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from perdure._outbound_activities import (
    AsyncActivityIDReference,
    CompleteAsyncActivityInput,
    FailAsyncActivityInput,
    HeartbeatAsyncActivityInput,
    ReportCancellationAsyncActivityInput,
)
from perdure._service import Service


class AsyncActivityHandle:
    """Ends an activity that left its worker with `activity.raise_complete_async()`; made by the client.

    Every method raises `RPCError` with one of these codes: `TASK_NOT_FOUND`, the token is none, is of another
    namespace, or its attempt is over; `ACTIVITY_NOT_FOUND`, no such activity is pending; `WORKFLOW_NOT_FOUND`.
    A completion that is repeated after it was carried out finds nothing pending.

    Example:
        ``await client.get_async_activity_handle(task_token=token).complete("approved")``
    """

    def __init__(self, service: Service, id_or_token: AsyncActivityIDReference | bytes) -> None:
        self._service = service
        self._id_or_token = id_or_token

    async def heartbeat(self, *details: Any) -> None:
        """Says that the attempt goes on; the next attempt, if there is one, finds the details.

        Raises `AsyncActivityCancelledError` when the activity was asked to stop, `RPCError` as above.

        Example:
            ``await handle.heartbeat("half of it is read")``
        """
        await self._service.through.heartbeat_async_activity(HeartbeatAsyncActivityInput(self._id_or_token, details))

    async def complete(self, result: Any = None) -> None:
        """Completes the activity; None is its result by default.

        Raises `ConversionError` for a result that cannot be written, `RPCError` as above.

        Example:
            ``await handle.complete("approved")``
        """
        await self._service.through.complete_async_activity(CompleteAsyncActivityInput(self._id_or_token, result))

    async def fail(self, error: BaseException, *, last_heartbeat_details: Sequence[Any] = ()) -> None:
        """Fails the attempt: the retry policy says whether there is another.

        Args:
            error: what went wrong; an `ApplicationError` can say that it is not to be retried, or when.
            last_heartbeat_details: what the next attempt finds. Default: what the last heartbeat carried.

        Raises `RPCError` as above.

        Example:
            ``await handle.fail(ApplicationError("nobody answered", type="Unanswered", non_retryable=True))``
        """
        given = FailAsyncActivityInput(self._id_or_token, error, last_heartbeat_details)
        await self._service.through.fail_async_activity(given)

    async def report_cancellation(self, *details: Any) -> None:
        """Says that the activity has stopped because it was asked to.

        Raises `RPCError`: `INVALID_ARGUMENT` when nobody asked it to stop, and as above.

        Example:
            ``await handle.report_cancellation()``
        """
        given = ReportCancellationAsyncActivityInput(self._id_or_token, details)
        await self._service.through.report_cancellation_async_activity(given)


class AsyncActivities:
    """What a client does with activities that are ended from elsewhere."""

    _service: Service

    @overload
    def get_async_activity_handle(self, *, task_token: bytes) -> AsyncActivityHandle: ...
    @overload
    def get_async_activity_handle(
        self, *, workflow_id: str | None = None, run_id: str | None = None, activity_id: str
    ) -> AsyncActivityHandle: ...
    def get_async_activity_handle(
        self,
        *,
        task_token: bytes | None = None,
        workflow_id: str | None = None,
        run_id: str | None = None,
        activity_id: str | None = None,
    ) -> AsyncActivityHandle:
        """A handle to an activity that is completed from elsewhere; nothing is asked of the service yet.

        Args:
            task_token: `activity.info().task_token`: means that one attempt.
            activity_id: in place of a token: `activity.info().activity_id`, or what `activity_id=` gave it; for a
                standalone activity its `id`. Means whatever attempt is pending.
            workflow_id: whose activity it is. Default None: it is a standalone activity.
            run_id: a run of the workflow, or of the standalone activity. Default None: the current one.

        Raises `TypeError` or `ValueError` for anything but one of the two.

        Example:
            ``client.get_async_activity_handle(workflow_id="order-1", activity_id="approval")``
        """
        return AsyncActivityHandle(self._service, address_of(task_token, workflow_id, run_id, activity_id))


def address_of(
    task_token: object, workflow_id: str | None, run_id: str | None, activity_id: str | None
) -> AsyncActivityIDReference | bytes:
    """What `get_async_activity_handle` was given. Raises `TypeError` or `ValueError` for anything but one address."""
    if task_token is not None:
        if workflow_id is not None or run_id is not None or activity_id is not None:
            raise ValueError("give task_token alone, or activity_id and, for one of a workflow, workflow_id")
        if not isinstance(task_token, bytes):
            raise TypeError(f"task_token is the bytes of activity.info().task_token, not {task_token!r}")
        return task_token
    if not activity_id or workflow_id == "":
        raise ValueError("give task_token, or activity_id and, for one of a workflow, workflow_id")
    return AsyncActivityIDReference(workflow_id, run_id, activity_id)
