"""What a workflow starts by name, how it continues as new, and the parts of the model that this version lacks.

Everything turns into a request to the runtime of the workflow that runs.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn, TypeVar, Unpack, cast, overload

from perdure._call import Call
from perdure._definition import ActivityHandle, Workflow, with_default_timeout
from perdure._handlers import runtime_for
from perdure._notes import plain_attributes, plain_memo
from perdure._options import ActivityOptions, ContinueAsNewOptions, checked
from perdure._runtime import ActivityRequest, ContinueAsNewRequest
from perdure.metrics import MetricMeter

T = TypeVar("T")


@overload
def start_activity(
    activity: str, *, args: Sequence[object] = ..., result_type: type[T], **options: Unpack[ActivityOptions]
) -> ActivityHandle[T]: ...
@overload
def start_activity(
    activity: str, *, args: Sequence[object] = ..., result_type: None = ..., **options: Unpack[ActivityOptions]
) -> ActivityHandle[Any]: ...
def start_activity(
    activity: str, *, args: Sequence[object] = (), result_type: Any = None, **options: Unpack[ActivityOptions]
) -> ActivityHandle[Any]:
    """Schedules an activity by name, for code in another repository; `act.start(…)` does it for one that is at hand.

    Args:
        activity: the activity type.
        args: its positional arguments. Default none.
        result_type: what the result comes back as. Default: plain JSON values.
        options: as `ActivityOptions`.

    Raises `ConversionError` for an argument that cannot be written.

    Example:
        ``handle = workflow.start_activity("charge", args=[3], result_type=str)``
    """
    return _start_named(activity, args, result_type, options, local=False)


@overload
async def execute_activity(
    activity: str, *, args: Sequence[object] = ..., result_type: type[T], **options: Unpack[ActivityOptions]
) -> T: ...
@overload
async def execute_activity(
    activity: str, *, args: Sequence[object] = ..., result_type: None = ..., **options: Unpack[ActivityOptions]
) -> Any: ...
async def execute_activity(
    activity: str, *, args: Sequence[object] = (), result_type: Any = None, **options: Unpack[ActivityOptions]
) -> Any:
    """Runs an activity by name and gives its result; arguments as of `start_activity`. Raises `ActivityError`.

    Example:
        ``receipt = await workflow.execute_activity("charge", args=[3], result_type=str)``
    """
    return await _start_named(activity, args, result_type, options, local=False)


@overload
async def execute_local_activity(
    activity: str, *, args: Sequence[object] = ..., result_type: type[T], **options: Unpack[ActivityOptions]
) -> T: ...
@overload
async def execute_local_activity(
    activity: str, *, args: Sequence[object] = ..., result_type: None = ..., **options: Unpack[ActivityOptions]
) -> Any: ...
async def execute_local_activity(
    activity: str, *, args: Sequence[object] = (), result_type: Any = None, **options: Unpack[ActivityOptions]
) -> Any:
    """Runs an activity of the workflow's own worker by name; arguments as of `start_activity`. Raises `ActivityError`.

    Example:
        ``rate = await workflow.execute_local_activity("rate", args=["EUR"], result_type=float)``
    """
    return await _start_named(activity, args, result_type, options, local=True)


def _start_named(
    activity: str, args: Sequence[object], result_type: Any, options: ActivityOptions, *, local: bool
) -> ActivityHandle[Any]:
    given = cast(ActivityOptions, checked(options, ActivityOptions, "an activity"))
    request = ActivityRequest(
        activity_type=activity,
        args=tuple(args),
        kwargs={},
        result_type=Any if result_type is None else result_type,
        local=local,
        **with_default_timeout(given, activity),
    )
    return cast(ActivityHandle[Any], runtime_for("an activity called by name").start_activity(request))


@overload
def continue_as_new(call: Coroutine[Any, Any, object], /, **options: Unpack[ContinueAsNewOptions]) -> NoReturn: ...
@overload
def continue_as_new(
    *args: object, workflow: Workflow[..., Any] | str | None = ..., **options: Unpack[ContinueAsNewOptions]
) -> NoReturn: ...
def continue_as_new(
    *args: object, workflow: Workflow[..., Any] | str | None = None, **options: Unpack[ContinueAsNewOptions]
) -> NoReturn:
    """Ends this run and goes on in a new one with an empty history. Does not return.

    Args:
        args: the arguments of the next run; or one call of a workflow, which is then what runs next.
        workflow: another workflow, or its name. Default: the same.
        options: what is to be otherwise; see `ContinueAsNewOptions`.

    Raises `ConversionError` for arguments that do not fit, and `RuntimeError` outside a workflow.

    Example:
        ``workflow.continue_as_new(hello("Bob"))``, or ``workflow.continue_as_new("Bob")`` inside of `hello`
    """
    runtime = runtime_for("workflow.continue_as_new()")
    target: object = workflow
    kwargs: dict[str, object] = {}
    if len(args) == 1 and isinstance(args[0], Call):
        target, args, kwargs = cast(Call[object], args[0]).take()
        if not isinstance(target, Workflow):
            raise TypeError(f"continue_as_new goes on with a workflow, not with {target!r}")
    known = cast(Workflow[..., object], target) if isinstance(target, Workflow) else None
    runtime.continue_as_new(
        ContinueAsNewRequest(
            args=args,
            kwargs=kwargs,
            workflow_type=known.name if known else cast(str | None, target),
            arg_types=known.definition.resolve().parameters if known else None,
            **_next_run(options),
        )
    )


def _next_run(options: ContinueAsNewOptions) -> dict[str, Any]:
    found = checked(options, ContinueAsNewOptions, "continue_as_new")
    if found.get("memo") is not None:
        found["memo"] = plain_memo(found["memo"])
    if found.get("search_attributes") is not None:
        found["search_attributes"] = plain_attributes(found["search_attributes"])
    return found


def metric_meter() -> MetricMeter:
    """Metrics of workflow code: recorded once, silent on replay and in queries.

    Values belong to the namespace, the task queue and the workflow type. Raises `RuntimeError` outside a workflow.

    Example:
        ``workflow.metric_meter().create_counter("orders").add(1, {"kind": "gift"})``
    """
    return runtime_for("workflow.metric_meter()").metric_meter()
