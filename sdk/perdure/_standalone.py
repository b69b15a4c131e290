"""Activities without a workflow, seen from a client: start one, wait for it, look at it, stop it, list them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar, TypeVarTuple, Unpack, cast, overload
from uuid import uuid4

from msgspec import Struct

from perdure._call import Call
from perdure._definition import Activity, refuse_dynamic
from perdure._history import WorkflowExecutionStatus
from perdure._options import NamedRetryPolicy, checked
from perdure._outbound_activities import (
    CancelActivityInput,
    CountActivitiesInput,
    DescribeActivityInput,
    GetActivityResultInput,
    ListActivitiesInput,
    StartActivityInput,
    TerminateActivityInput,
)
from perdure._parameters import Parameters
from perdure._service import Service
from perdure_proto import service as svc
from perdure_proto.options import IdConflictPolicy, IdReusePolicy, Priority, RetryPolicy

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")


class StartActivityOptions(TypedDict, total=False):
    """How a standalone activity is started. What is not given is the definition's, then the default."""

    id: str | None
    """Activity id. Default: a UUID."""
    task_queue: str | None
    """Default `"default"`."""
    start_to_close_timeout: timedelta | None
    """How long one attempt may take. Default 1 minute where no `schedule_to_close_timeout` is given either."""
    schedule_to_close_timeout: timedelta | None
    """How long all attempts together may take. Default none."""
    schedule_to_start_timeout: timedelta | None
    """How long an attempt may wait for a worker. Default none."""
    heartbeat_timeout: timedelta | None
    """Longest gap between two heartbeats. Default none."""
    retry_policy: RetryPolicy | NamedRetryPolicy | None
    """Default: 1 s, doubling, up to 100 s, for ever."""
    id_reuse_policy: IdReusePolicy
    """Against a closed activity of the id. Default `allow_duplicate`."""
    id_conflict_policy: IdConflictPolicy
    """Against a running activity of the id. Default `fail`."""
    memo: Mapping[str, Any]
    search_attributes: Mapping[str, Any]
    priority: Priority | None
    concurrency_key: str | None
    """Activities of one key share a limit, wherever they run. Default: the activity's type. Only with
    `concurrency_max`."""
    concurrency_max: int | None
    """How many of the key may run at once, in the namespace; further ones wait in order. Default: no limit."""
    request_id: str | None
    """A repeat with the same one gets the first answer. Default: a UUID."""
    static_summary: str | None
    static_details: str | None


class ActivityExecution(Struct, frozen=True, kw_only=True):
    """One row of a list of standalone activities. Times are in UTC."""

    id: str
    run_id: str
    activity_type: str
    task_queue: str
    status: WorkflowExecutionStatus
    start_time: datetime
    close_time: datetime | None
    memo: Mapping[str, Any]
    search_attributes: Mapping[str, Any]


class ActivityExecutionDescription(ActivityExecution, frozen=True, kw_only=True):
    """A standalone activity in detail. `pending` has its attempt and last failure until it has closed."""

    pending: svc.PendingActivity | None
    cancel_requested: bool
    cancel_reason: str
    """What the first cancel request said."""
    static_summary: str
    static_details: str


class StandaloneActivityHandle(Generic[R_co]):
    """A standalone activity: `R` is what its result comes back as. Without a `run_id` it means the current run.

    Example:
        ``handle = await client.start_activity(greet, "Ada", id="greet-1"); print(await handle.result())``
    """

    def __init__(self, service: Service, id: str, *, run_id: str | None, result_type: Any) -> None:
        self._service = service
        self._id = id
        self._run_id = run_id
        self._result_type = result_type

    @property
    def id(self) -> str:
        """The activity id."""
        return self._id

    @property
    def run_id(self) -> str | None:
        """The run that it is about; None means the current one."""
        return self._run_id

    async def result(self) -> R_co:
        """Waits for the activity and gives its result. Raises `ActivityFailureError`, whose `cause` says why."""
        given = GetActivityResultInput(self._id, self._run_id, self._result_type)
        return cast(R_co, await self._service.through.get_activity_result(given))

    async def describe(self) -> ActivityExecutionDescription:
        """How it stands: status, times, attempt and last failure."""
        return await self._service.through.describe_activity(DescribeActivityInput(self._id, self._run_id))

    async def cancel(self, *, reason: str = "") -> None:
        """Asks it to stop: at once where no worker runs it, else its code hears of it and may clean up."""
        await self._service.through.cancel_activity(CancelActivityInput(self._id, self._run_id, reason))

    async def terminate(self, *, reason: str = "") -> None:
        """Ends it at once; whatever its worker says later does not count."""
        await self._service.through.terminate_activity(TerminateActivityInput(self._id, self._run_id, reason))


class StandaloneActivities:
    """What a client does with activities that have no workflow."""

    _service: Service

    @overload
    async def start_activity(
        self, activity: Coroutine[Any, Any, R], /, **options: Unpack[StartActivityOptions]
    ) -> StandaloneActivityHandle[R]: ...
    @overload
    async def start_activity(
        self,
        activity: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        **options: Unpack[StartActivityOptions],
    ) -> StandaloneActivityHandle[R]: ...
    @overload
    async def start_activity(
        self, activity: str, /, *args: object, result_type: type[R], **options: Unpack[StartActivityOptions]
    ) -> StandaloneActivityHandle[R]: ...
    @overload
    async def start_activity(
        self, activity: str, /, *args: object, **options: Unpack[StartActivityOptions]
    ) -> StandaloneActivityHandle[Any]: ...
    async def start_activity(self, activity: Any, /, *args: Any, result_type: Any = None, **options: Any) -> Any:  # type: ignore[misc]  # mypy cannot match *Ts with *args
        """Starts an activity that belongs to no workflow, and gives a handle to it once the start is durable.

        Args:
            activity: a call (`greet("Ada")`), an activity with its arguments behind it, or a type's name.
            args: positional arguments.
            result_type: what the result of an activity given by name comes back as.
            options: `id`, `task_queue`, timeouts and the rest of `StartActivityOptions`.

        Raises `ActivityAlreadyStartedError` when the id is taken, and `ConversionError` for an argument that does not
        fit.

        Example:
            ``handle = await client.start_activity(greet, "Ada", id="greet-1")``
        """
        start = _start_of(activity, args, result_type)
        given = checked({**start.options, **options}, StartActivityOptions, "start_activity")
        activity_id = given.pop("id", None) or str(uuid4())
        asked = StartActivityInput(start.activity_type, start.args, activity_id, start.kwargs, **given)
        asked.arg_types, asked.result_type = start.parameters, start.result_type
        return await self._service.through.start_activity(asked)

    @overload
    async def execute_activity(
        self, activity: Coroutine[Any, Any, R], /, **options: Unpack[StartActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(
        self,
        activity: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        **options: Unpack[StartActivityOptions],
    ) -> R: ...
    @overload
    async def execute_activity(
        self, activity: str, /, *args: object, result_type: type[R], **options: Unpack[StartActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(
        self, activity: str, /, *args: object, **options: Unpack[StartActivityOptions]
    ) -> Any: ...
    async def execute_activity(self, activity: Any, /, *args: Any, **options: Any) -> Any:  # type: ignore[misc]  # mypy cannot match *Ts with *args
        """Starts an activity and waits for its result: `start_activity`, then `handle.result()`.

        Raises what the two raise.

        Example:
            ``await client.execute_activity(greet("Ada"), id="greet-1")``
        """
        start: Callable[..., Coroutine[Any, Any, StandaloneActivityHandle[Any]]] = self.start_activity
        return await (await start(activity, *args, **options)).result()

    @overload
    def get_activity_handle(
        self, id: str, *, run_id: str | None = None, result_type: type[R]
    ) -> StandaloneActivityHandle[R]: ...
    @overload
    def get_activity_handle(
        self, id: str, *, run_id: str | None = None, result_type: Any = None
    ) -> StandaloneActivityHandle[Any]: ...
    def get_activity_handle(
        self, id: str, *, run_id: str | None = None, result_type: Any = None
    ) -> StandaloneActivityHandle[Any]:
        """A handle to a standalone activity by its id; nothing is asked of the service yet."""
        return StandaloneActivityHandle(self._service, id, run_id=run_id, result_type=result_type)

    async def list_activities(self, query: str = "", *, limit: int | None = None) -> AsyncIterator[ActivityExecution]:
        """The standalone activities that a query finds, newest first.

        Args:
            query: such as `ActivityType = "greet" and ExecutionStatus = "Running"`. Default: all.
            limit: how many at most. Default None: all.

        Example:
            ``async for found in client.list_activities(limit=10): print(found.id, found.status)``
        """
        async for found in self._service.through.list_activities(ListActivitiesInput(query, limit)):
            yield found

    async def count_activities(self, query: str = "") -> svc.CountActivitiesAnswer:
        """How many standalone activities a query finds: `.count`."""
        return await self._service.through.count_activities(CountActivitiesInput(query))


class _Start(NamedTuple):
    activity_type: str
    args: tuple[object, ...]
    kwargs: dict[str, object]
    parameters: Parameters | None
    result_type: Any
    options: Mapping[str, Any]


def _start_of(given: object, args: tuple[object, ...], result_type: Any) -> _Start:
    """What `start_activity` was given. Raises `TypeError` for what is no activity."""
    if isinstance(given, str):
        return _Start(given, args, {}, None, result_type, {})
    kwargs: dict[str, object] = {}
    target = given
    if isinstance(given, Call):
        if args:
            given.close()
            raise TypeError("a call has its arguments already: give the activity, or the call alone")
        target, args, kwargs = cast(Call[object], given).take()
    if not isinstance(target, Activity):
        raise TypeError(
            f"{target!r} is not an activity: decorate a function with @activity.defn, or give a type's name"
        )
    known = cast(Activity[..., object], target)
    refuse_dynamic(known.definition, "start_activity(name, …)")
    signature = known.definition.resolve()
    own = {name: value for name, value in known.options.items() if name in StartActivityOptions.__annotations__}
    return _Start(known.name, args, kwargs, signature.parameters, signature.result, own)
