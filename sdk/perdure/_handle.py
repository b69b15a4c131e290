"""A workflow seen from a client: wait for it, look at it, talk to it, stop it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from datetime import timedelta
from typing import Any, Final, Generic, ParamSpec, TypeVar, TypeVarTuple, Unpack, cast, overload
from uuid import uuid4

from msgspec import structs

from perdure import exceptions
from perdure._client_interceptor import (
    CancelWorkflowInput,
    DescribeWorkflowInput,
    FetchWorkflowHistoryEventsInput,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowUpdateInput,
    TerminateWorkflowInput,
)
from perdure._failures import exception_of
from perdure._going_back import ALL, ActivityTimeouts, Reapplied, ResetPoint
from perdure._history import History, WorkflowExecutionDescription, description_of
from perdure._messages import Outgoing, Query, QueryCall, Signals, UpdateCall, outgoing
from perdure._outbound_control import (
    PauseActivityInput,
    PauseWorkflowInput,
    ReopenWorkflowInput,
    ResetActivityInput,
    ResetWorkflowInput,
    UnpauseActivityInput,
    UnpauseWorkflowInput,
    UpdateActivityOptionsInput,
)
from perdure._query import LONG_POLL_SECONDS
from perdure._service import Service
from perdure._update_handle import WaitForStage, WorkflowUpdateHandle, update_request
from perdure_proto.codec import decode_events
from perdure_proto.errors import Code
from perdure_proto.events import AnyEvent
from perdure_proto.failures import Failure
from perdure_proto.options import RetryPolicy
from perdure_proto.service import (
    CancelWorkflowRequest,
    QueryWorkflowRequest,
    SignalWorkflowRequest,
    TerminateWorkflowRequest,
    UpdateStage,
    WorkflowResultAnswer,
)
from perdure_proto.waitpoints import QUERY as WAITPOINTS
from perdure_proto.waitpoints import PendingWaitpoint

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")


_STAGES: Final[tuple[UpdateStage, ...]] = ("ADMITTED", "ACCEPTED", "COMPLETED")
_OPEN: Final = frozenset({"RUNNING", "PAUSED"})


class WorkflowHandle(Signals, Generic[R_co]):
    """A workflow execution: `R` is what its result comes back as.

    Without a `run_id` it means the current run of the id. Errors of the service are `RPCError`, such as with the code
    `WORKFLOW_NOT_FOUND`.

    Example:
        ``handle = await client.start_workflow(hello, "Ada"); print(await handle.result())``
    """

    def __init__(self, service: Service, id: str, *, run_id: str | None, result_type: Any) -> None:
        self._service = service
        self._id = id
        self._run_id = run_id
        self._result_type = result_type
        self._first_run_id: str | None = None

    @property
    def id(self) -> str:
        """The workflow id."""
        return self._id

    @property
    def run_id(self) -> str | None:
        """The run that everything but `result` is about; None means the current one."""
        return self._run_id

    @property
    def result_run_id(self) -> str | None:
        """The run that `result` begins with; None means the current one."""
        return self._run_id or self._first_run_id

    @property
    def first_execution_run_id(self) -> str | None:
        """The run that a start began or found; None for a handle that was not given by a start."""
        return self._first_run_id

    def started_as(self, run_id: str) -> WorkflowHandle[R_co]:
        """The same handle, with the run that a start began."""
        self._first_run_id = run_id
        return self

    async def result(self, *, follow_runs: bool = True) -> R_co:
        """Waits for the workflow and gives its result.

        Args:
            follow_runs: goes on with the next run after continue-as-new, retry or cron. Default True.

        Raises `WorkflowFailureError`, whose `cause` says what happened, and `WorkflowContinuedAsNewError` where runs
        are not followed.
        """
        run_id = self.result_run_id or ""
        while True:
            answer = await self._service.result(self._id, run_id)
            run_id = answer.run_id
            if answer.status in _OPEN:
                continue
            if not (answer.new_run_id and follow_runs):
                return self._outcome(answer)
            run_id = answer.new_run_id

    def _outcome(self, answer: WorkflowResultAnswer) -> R_co:
        if answer.status == "COMPLETED":
            return cast(R_co, self._service.converter.decode_value(answer.result, answer.encoding, self._result_type))
        if answer.status == "CONTINUED_AS_NEW":
            raise exceptions.WorkflowContinuedAsNewError(answer.new_run_id)
        cause = self._exception(answer.failure) if answer.failure else _without_failure(answer)
        raise exceptions.WorkflowFailureError(cause=cause)

    def _exception(self, failure: Failure) -> exceptions.FailureError:
        return exception_of(failure, self._service.converter)

    async def describe(self) -> WorkflowExecutionDescription:
        """How the workflow stands: status, times, and every pending activity with attempt and last failure."""
        if (outbound := self._service.outbound) is not None:
            return await outbound.describe_workflow(DescribeWorkflowInput(self._id, self._run_id))
        return await self._describe_now()

    async def _describe_now(self) -> WorkflowExecutionDescription:
        return description_of(await self._service.describe(self._id, self._run_id or ""))

    async def _send_signal(self, call: Outgoing) -> None:
        if (outbound := self._service.outbound) is not None:
            given = SignalWorkflowInput(self._id, self._run_id, call.name, call.args, call.kwargs)
            given.arg_types = call.parameters
            await outbound.signal_workflow(given)
        else:
            await self._signal_now(call, {})

    async def _signal_now(self, call: Outgoing, header: dict[str, Any]) -> None:
        positional, kwargs, encoding = self._service.converter.encode_args(call.args, call.kwargs, call.parameters)
        request = SignalWorkflowRequest(
            run_id=self._run_id or "",
            input=positional,
            kwargs=kwargs,
            encoding=encoding,
            request_id=str(uuid4()),
            identity=self._service.identity,
            header=header,
        )
        await self._service.signal(self._id, call.name, request)

    @overload
    async def query(self, query: QueryCall[R], /) -> R: ...
    @overload
    async def query(self, query: Query[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def query(self, query: str, /, *args: object) -> Any: ...
    async def query(self, query: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Asks the workflow something: `query(status)`, `query(last, 3)`, `query(last(3))` or `query("last", 3)`.

        Raises `WorkflowQueryFailedError` when the handler raises or there is none, and `ConversionError` for an
        argument that does not fit.
        """
        return await self._ask(outgoing(query, args, kwargs, QueryCall))

    async def _ask(self, call: Outgoing) -> Any:
        if (outbound := self._service.outbound) is None:
            return await self._query_now(call, {})
        given = QueryWorkflowInput(self._id, self._run_id, call.name, call.args, call.kwargs)
        given.arg_types, given.ret_type = call.parameters, call.result_type
        return await outbound.query_workflow(given)

    async def _query_now(self, call: Outgoing, header: dict[str, Any]) -> Any:
        converter = self._service.converter
        positional, named, encoding = converter.encode_args(call.args, call.kwargs, call.parameters)
        request = QueryWorkflowRequest(
            run_id=self._run_id or "", input=positional, kwargs=named, encoding=encoding, header=header
        )
        try:
            answer = await self._service.query(self._id, call.name, request)
        except exceptions.RPCError as error:
            if error.code != Code.QUERY_FAILED:
                raise
            raise exceptions.WorkflowQueryFailedError(error.message) from error
        return converter.decode_value(answer.result, answer.encoding, call.result_type)

    async def waitpoints(self) -> list[PendingWaitpoint]:
        """The waitpoints that nobody has completed, with their tokens: the workflow's code is asked, as by a query.

        Those whose time is over are among them until the workflow ends; `expires_at` says so.

        Raises `WorkflowQueryFailedError` where the worker does not know waitpoints.

        Example:
            ``[(one.name, one.url) for one in await handle.waitpoints()]``
        """
        asked = Outgoing.of(WAITPOINTS, (), {}, None, list[PendingWaitpoint])
        found: list[PendingWaitpoint] = await self._ask(asked)
        return found

    @overload
    async def execute_update(self, update: UpdateCall[R], /, *, id: str | None = None) -> R: ...
    @overload
    async def execute_update(
        self, update: Callable[[Unpack[Ts]], UpdateCall[R]], /, *args: *Ts, id: str | None = None
    ) -> R: ...
    @overload
    async def execute_update(self, update: str, /, *args: object, id: str | None = None) -> Any: ...
    async def execute_update(self, update: Any, /, *args: Any, id: str | None = None) -> Any:  # type: ignore[misc]  # mypy cannot match *Ts with *args
        """Sends an update and waits for its result.

        Args:
            update: the update, its call, or its name.
            args: its arguments.
            id: a repeat with the same id gets the first answer. Default: a UUID.

        Raises `WorkflowUpdateFailedError` when it is rejected or its handler raises.

        Example:
            ``await handle.execute_update(set_address, Address("Oslo"), id="u-1")``
        """
        handle = await self._update(outgoing(update, args, {}, UpdateCall), id, "COMPLETED")
        return await handle.result()

    @overload
    async def start_update(
        self, update: UpdateCall[R], /, *, id: str | None = None, wait_for_stage: WaitForStage = "ACCEPTED"
    ) -> WorkflowUpdateHandle[R]: ...
    @overload
    async def start_update(
        self,
        update: Callable[[Unpack[Ts]], UpdateCall[R]],
        /,
        *args: *Ts,
        id: str | None = None,
        wait_for_stage: WaitForStage = "ACCEPTED",
    ) -> WorkflowUpdateHandle[R]: ...
    @overload
    async def start_update(
        self, update: str, /, *args: object, id: str | None = None, wait_for_stage: WaitForStage = "ACCEPTED"
    ) -> WorkflowUpdateHandle[Any]: ...
    async def start_update(  # type: ignore[misc]  # mypy cannot match *Ts with *args
        self, update: Any, /, *args: Any, id: str | None = None, wait_for_stage: WaitForStage = "ACCEPTED"
    ) -> WorkflowUpdateHandle[Any]:
        """Sends an update and waits until it is accepted (default) or completed; the rest is as `execute_update`.

        A rejected update is told by the handle's `result()`.
        """
        return await self._update(outgoing(update, args, {}, UpdateCall), id, wait_for_stage)

    async def _update(self, call: Outgoing, id: str | None, stage: WaitForStage) -> WorkflowUpdateHandle[Any]:
        update_id = id or str(uuid4())
        if (outbound := self._service.outbound) is None:
            return await self._update_now(call, update_id, stage, {})
        given = StartWorkflowUpdateInput(
            self._id, self._run_id, update_id, call.name, call.args, wait_for_stage=stage, kwargs=call.kwargs
        )
        given.arg_types, given.ret_type = call.parameters, call.result_type
        return await outbound.start_workflow_update(given)

    async def _update_now(
        self, call: Outgoing, update_id: str, stage: WaitForStage, header: dict[str, Any]
    ) -> WorkflowUpdateHandle[Any]:
        request = update_request(self._service, call, update_id, stage, run_id=self._run_id or "")
        if header:
            request = structs.replace(request, header=header)
        # An admitted update lives in memory: asking again with the same id brings it back where it was lost.
        while True:
            answer = await self._service.update(self._id, call.name, request)
            if _STAGES.index(answer.stage) >= _STAGES.index(request.wait_for_stage):
                break
        handle = self.get_update_handle(answer.update_id, run_id=answer.run_id, result_type=call.result_type)
        return handle.known(answer)

    @overload
    def get_update_handle(
        self, id: str, *, run_id: str | None = None, result_type: type[R]
    ) -> WorkflowUpdateHandle[R]: ...
    @overload
    def get_update_handle(
        self, id: str, *, run_id: str | None = None, result_type: Any = None
    ) -> WorkflowUpdateHandle[Any]: ...
    def get_update_handle(
        self, id: str, *, run_id: str | None = None, result_type: Any = None
    ) -> WorkflowUpdateHandle[Any]:
        """An update that was sent before, by its id; `result_type` is what its result comes back as."""
        return WorkflowUpdateHandle(
            self._service, (self._id, id), run_id=run_id or self._run_id, result_type=result_type
        )

    async def cancel(self, *, reason: str = "") -> None:
        """Asks the workflow to stop: its code may clean up first."""
        if (outbound := self._service.outbound) is not None:
            await outbound.cancel_workflow(CancelWorkflowInput(self._id, self._run_id, reason))
        else:
            await self._cancel_now(reason)

    async def _cancel_now(self, reason: str) -> None:
        request = CancelWorkflowRequest(
            run_id=self._run_id or "", reason=reason, request_id=str(uuid4()), identity=self._service.identity
        )
        await self._service.cancel(self._id, request)

    async def terminate(self, *, reason: str = "") -> None:
        """Stops the workflow at once: its code does not run again."""
        if (outbound := self._service.outbound) is not None:
            await outbound.terminate_workflow(TerminateWorkflowInput(self._id, self._run_id, reason))
        else:
            await self._terminate_now(reason)

    async def _terminate_now(self, reason: str) -> None:
        request = TerminateWorkflowRequest(run_id=self._run_id or "", reason=reason, identity=self._service.identity)
        await self._service.terminate(self._id, request)

    async def events(self, *, follow: bool = False) -> AsyncIterator[AnyEvent]:
        """The events of the run, one by one.

        Args:
            follow: waits for new ones until the run is closed. Default False.

        Example:
            ``async for event in handle.events(follow=True): print(event.event_type)``
        """
        if (outbound := self._service.outbound) is None:
            events = self._events_now(follow=follow)
        else:
            given = FetchWorkflowHistoryEventsInput(self._id, self.result_run_id, wait_new_event=follow)
            events = outbound.fetch_workflow_history_events(given)
        async for event in events:
            yield event

    async def _events_now(self, *, follow: bool) -> AsyncIterator[AnyEvent]:
        run_id, after = self.result_run_id or "", 0
        while True:
            answer = await self._service.history(self._id, run_id, after, wait=LONG_POLL_SECONDS if follow else 0.0)
            run_id = answer.run_id
            events = decode_events(answer.events)
            for event in events:
                after = event.event_id
                yield event
            if answer.next_event_id == 0 or not (events or follow):
                return

    async def fetch_history(self) -> History:
        """All events of the run so far."""
        events = [event async for event in self.events()]
        return History(workflow_id=self._id, run_id=self.result_run_id or "", events=events)

    async def pause(self, *, reason: str = "") -> None:
        """Pauses the workflow: no code of it and no activity begins until `unpause`, and its clocks stand still.

        Signals are recorded, queries are answered, updates are refused with `WORKFLOW_PAUSED`. Activities that run
        already go on. To pause a paused workflow changes nothing.

        Args:
            reason: is kept in the history. Default "".

        Raises `RPCError` with `WORKFLOW_CLOSED` or `WORKFLOW_NOT_FOUND`.

        Example:
            ``await handle.pause(reason="the warehouse is closed")``
        """
        await self._service.through.pause_workflow(PauseWorkflowInput(self._id, self._run_id, reason))

    async def unpause(self, *, reason: str = "") -> None:
        """Lets a paused workflow go on: timers, timeouts and retries come later by as long as it was paused.

        Args:
            reason: is kept in the history. Default "".

        Raises `RPCError` with `WORKFLOW_CLOSED` or `WORKFLOW_NOT_FOUND`. One that is not paused stays as it is.

        Example:
            ``await handle.unpause(reason="it is open again")``
        """
        await self._service.through.unpause_workflow(UnpauseWorkflowInput(self._id, self._run_id, reason))

    async def pause_activity(self, activity_id: str, *, reason: str = "") -> None:
        """Hands one pending activity out no more; an attempt that heartbeats is told, and not counted if it stops.

        Args:
            activity_id: as `describe` shows it.
            reason: is kept until the pause ends. Default "".

        Raises `RPCError` with `ACTIVITY_NOT_FOUND`.

        Example:
            ``await handle.pause_activity("3", reason="the bank is down")``
        """
        await self._service.through.pause_activity(PauseActivityInput(self._id, self._run_id, activity_id, reason))

    async def unpause_activity(
        self,
        activity_id: str,
        *,
        reset_attempts: bool = False,
        reset_heartbeat: bool = False,
        jitter: timedelta = timedelta(0),
    ) -> None:
        """Lets a paused activity go on: at once, or when its retry delay is over.

        Args:
            activity_id: as `describe` shows it.
            reset_attempts: counts attempts from 1 again, without a delay. Default False.
            reset_heartbeat: forgets the details of its heartbeats. Default False.
            jitter: it comes after a random part of this. Default none.

        Raises `RPCError` with `ACTIVITY_NOT_FOUND`.

        Example:
            ``await handle.unpause_activity("3", reset_attempts=True)``
        """
        given = UnpauseActivityInput(self._id, self._run_id, activity_id, reset_attempts, reset_heartbeat, jitter)
        await self._service.through.unpause_activity(given)

    async def reset_activity(
        self,
        activity_id: str,
        *,
        keep_paused: bool = False,
        reset_heartbeat: bool = False,
        restore_options: bool = False,
        jitter: timedelta = timedelta(0),
    ) -> None:
        """Begins a pending activity anew: attempt 1, its whole time. One that runs, when that attempt has failed.

        Args:
            activity_id: as `describe` shows it.
            keep_paused: leaves a pause as it is; else it ends. Default False.
            reset_heartbeat: forgets the details of its heartbeats. Default False.
            restore_options: gives it the options back with which it was scheduled. Default False.
            jitter: it comes after a random part of this. Default none.

        Raises `RPCError` with `ACTIVITY_NOT_FOUND`.

        Example:
            ``await handle.reset_activity("3", reset_heartbeat=True)``
        """
        given = ResetActivityInput(self._id, self._run_id, activity_id, keep_paused, reset_heartbeat)
        given.restore_options, given.jitter = restore_options, jitter
        await self._service.through.reset_activity(given)

    async def update_activity_options(
        self,
        activity_id: str,
        *,
        task_queue: str = "",
        timeouts: ActivityTimeouts | None = None,
        retry_policy: RetryPolicy | None = None,
        restore_original: bool = False,
    ) -> None:
        """Changes options of a pending activity; what is not given stays.

        Args:
            activity_id: as `describe` shows it.
            task_queue: where its next attempt goes. Default: where it went.
            timeouts: those that change. Default none.
            retry_policy: the whole new policy. Default: the old one.
            restore_original: in place of all others: the options with which it was scheduled. Default False.

        Raises `RPCError` with `ACTIVITY_NOT_FOUND` or `INVALID_ARGUMENT`.

        Example:
            ``await handle.update_activity_options("3", timeouts={"start_to_close_timeout": timedelta(minutes=5)})``
        """
        given = UpdateActivityOptionsInput(self._id, self._run_id, activity_id, task_queue, timeouts)
        given.retry_policy, given.restore_original = retry_policy, restore_original
        await self._service.through.update_activity_options(given)

    async def reset(
        self,
        event_id: ResetPoint | None = None,
        *,
        activity_id: str | None = None,
        reason: str = "",
        reapply: Collection[Reapplied] = ALL,
    ) -> WorkflowHandle[R_co]:
        """Goes on from an earlier point in a new run, and gives its handle; the current run is terminated.

        Args:
            event_id: the id of a `WorkflowTaskCompleted` event, `"first"` or `"last"` (default): that task and all
                after it is done again.
            activity_id: in its place: back to just before this activity was scheduled.
            reason: is kept in the history. Default "".
            reapply: which messages that came later are told again: `"signal"`, `"update"`. Default both.

        Raises `ValueError` for two points at once, `RPCError` with `INVALID_ARGUMENT` for what is no point and
        `ACTIVITY_NOT_FOUND`.

        Example:
            ``handle = await handle.reset(activity_id="3", reason="the price was wrong")``
        """
        given = ResetWorkflowInput(self._id, self._run_id, event_id, activity_id, reason, reapply)
        return self._in_run(await self._service.through.reset_workflow(given))

    async def reopen(self, *, reason: str = "") -> WorkflowHandle[R_co]:
        """Goes on after a bug was repaired: a failed workflow in a new run, one whose task keeps failing at once.

        Only the task that failed the workflow is done again. What cannot be undone stays: a parent was told.

        Args:
            reason: is kept in the history. Default "".

        Raises `RPCError` with `NOTHING_TO_REOPEN`, and with `WORKFLOW_ALREADY_STARTED` where the id is in use again.

        Example:
            ``print(await (await handle.reopen()).result())``
        """
        given = ReopenWorkflowInput(self._id, self._run_id, reason)
        return self._in_run(await self._service.through.reopen_workflow(given))

    def _in_run(self, other: WorkflowHandle[Any]) -> WorkflowHandle[R_co]:
        """The run of another handle, with the type of this one's result."""
        return WorkflowHandle(self._service, self._id, run_id=other.run_id, result_type=self._result_type)


def _without_failure(answer: WorkflowResultAnswer) -> exceptions.FailureError:
    match answer.status:
        case "CANCELED":
            return exceptions.CancelledError("Workflow cancelled")
        case "TERMINATED":
            return exceptions.TerminatedError("Workflow terminated")
        case "TIMED_OUT":
            return exceptions.TimeoutError("Workflow timed out", type="START_TO_CLOSE")
        case _:
            return exceptions.ApplicationError("Workflow failed")
