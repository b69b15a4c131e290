"""Activities as users hold them: what a call asks of a workflow, and what it does without one."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import pickle
import threading
import warnings
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from perdure import _definition, activity
from perdure.exceptions import ConversionError
from perdure_proto.options import NAMED_RETRY_POLICIES
from tests.unit.sdk.stand_in import inside


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def greet(name: str, *, loud: bool = False) -> str:
    return name.upper() if loud else name


@activity.defn(retry_policy="fast", name="sq")
def square(x: int) -> int:
    assert threading.current_thread() is not threading.main_thread()
    return x * x


class Bank:
    def __init__(self, url: str) -> None:
        self.url = url

    @activity.defn(name="charge")
    async def charge(self, amount: int) -> str:
        return f"{self.url} {amount}"


async def test_outside_a_workflow_the_function_runs() -> None:
    """Unit tests need nothing: an async def is awaited, a def runs in a thread, a method on its instance."""
    assert "ADA" == await greet("Ada", loud=True)
    assert 9 == await square(3)
    assert "u 3" == await Bank("u").charge(3)
    assert 4 == await square.start(2)
    assert 4 == await square.local(2)


async def test_inside_a_workflow_a_call_is_a_request() -> None:
    """Name, arguments, types and options reach the runtime; the result is the future's."""
    with inside() as runtime:
        runtime.results.append("hi")
        assert "hi" == await greet("Ada", loud=True)
    [request] = runtime.activities
    assert ("greet", ("Ada",), {"loud": True}, str) == (
        request.activity_type,
        request.args,
        request.kwargs,
        request.result_type,
    )
    assert [str] == list(request.arg_types or ())
    assert timedelta(seconds=10) == request.start_to_close_timeout
    assert not request.local


async def test_a_method_is_called_on_its_class() -> None:
    """In a workflow the instance is the worker's business."""
    with inside() as runtime:
        await Bank.charge(3)
        await Bank("u").charge(4)
    assert [("charge", (3,)), ("charge", (4,))] == [(r.activity_type, r.args) for r in runtime.activities]
    assert [int] == list(runtime.activities[0].arg_types or ())


async def test_outside_a_workflow_a_method_needs_an_instance() -> None:
    """The message says what to do."""
    with pytest.raises(TypeError, match="call it on an instance"):
        await Bank.charge(3)


async def test_options_of_a_call_replace_those_of_the_definition() -> None:
    """What is not given stays, and the definition does not change."""
    other = greet.with_options(task_queue="q", retry_policy="standard").with_options(activity_id="a")
    with inside() as runtime:
        await other("Ada")
        await greet("Ada")
    first, second = runtime.activities
    assert ("q", "a", NAMED_RETRY_POLICIES["standard"]) == (first.task_queue, first.activity_id, first.retry_policy)
    assert timedelta(seconds=10) == first.start_to_close_timeout
    assert second.task_queue is None


async def test_a_local_call_says_so() -> None:
    """`local` asks for the workflow's own worker."""
    with inside() as runtime:
        await square.local(3)
    assert runtime.activities[0].local


async def test_start_schedules_at_once() -> None:
    """The handle is scheduled by the call, not by the await."""
    with inside() as runtime:
        handle = greet.start("Ada")
        assert 1 == len(runtime.activities)
        await handle


async def test_without_a_timeout_one_minute_is_used_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """The default is told once for each activity type."""

    @activity.defn
    async def lazy() -> None: ...

    _definition._told.discard("lazy")
    with inside() as runtime, caplog.at_level(logging.WARNING):
        await lazy()
        await lazy()
        await lazy.with_options(schedule_to_close_timeout=timedelta(hours=1))()
    minute = timedelta(minutes=1)
    assert [minute, minute, None] == [r.start_to_close_timeout for r in runtime.activities]
    assert 1 == len([r for r in caplog.records if "lazy" in r.getMessage()])


async def test_a_call_works_where_coroutines_do() -> None:
    """`gather`, tasks and `wait_for` take calls."""
    first, second = await asyncio.gather(greet("a"), square(2))
    task = asyncio.create_task(greet("b"))
    assert ("a", 4, "b", "c") == (first, second, await task, await asyncio.wait_for(greet("c"), 3))


async def test_a_call_is_awaited_once() -> None:
    """The second await says what to do."""
    call = greet("a")
    await call
    with pytest.raises(RuntimeError, match="write the call again"):
        await call


def test_a_dropped_call_warns_outside_a_workflow() -> None:
    """As Python does for coroutines."""
    with pytest.warns(RuntimeWarning, match="greet\\(\\) was never awaited"):
        greet("a")  # type: ignore[unused-coroutine]


async def test_a_dropped_call_is_told_to_the_runtime_it_was_made_in() -> None:
    """With its line, and also when another workflow is current by then."""
    with inside() as runtime:
        call: Any = greet("a")
        line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    with inside() as other:
        del call
        gc.collect()
    assert [("greet", line)] == runtime.dropped
    assert [] == other.dropped


async def test_a_closed_call_is_not_dropped() -> None:
    """A call that was closed on purpose is nobody's mistake."""
    with inside() as runtime:
        call: Any = greet("a")
        call.close()
        del call
    assert [] == runtime.dropped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_to_close_timeout": 10}, "timedelta"),
        ({"start_to_close_timeout": timedelta(0)}, "positive"),
        ({"retry_policy": "eager"}, "no retry policy 'eager'"),
        ({"task_que": "q"}, "no option 'task_que'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """At the declaration and at the call."""
    with pytest.raises((TypeError, ValueError), match=message):
        activity.defn(**options)
    with pytest.raises((TypeError, ValueError), match=message):
        greet.with_options(**options)


def test_only_a_def_runs_in_a_process() -> None:
    """An async def belongs to a loop."""
    with pytest.raises(TypeError, match="only a def"):

        @activity.defn(executor="process")
        async def far() -> None: ...


def test_types_nobody_can_read_are_refused_with_the_parameter() -> None:
    """Registration names the parameter."""

    class Opaque:
        pass

    @activity.defn
    async def takes(value: Opaque) -> None: ...

    with pytest.raises(ConversionError, match=r"takes\(\) parameter 'value'"):
        takes.definition.resolve()


def test_a_name_that_does_not_resolve_is_told() -> None:
    """The message says which name is missing."""

    @activity.defn
    async def takes(value: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConversionError, match="'Missing'"):
        takes.definition.resolve()


def test_unannotated_parameters_take_anything() -> None:
    """Untyped code works, untyped."""

    @activity.defn
    def loose(value, *rest, **extra):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN202  # what is tested
        return value

    signature = loose.definition.resolve()
    assert ((Any,), Any, Any, Any) == (
        signature.parameters.positional,
        signature.parameters.rest,
        signature.parameters.extra,
        signature.result,
    )


def test_a_generic_result_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A result that comes back untyped is said at registration."""
    from typing import TypeVar

    T = TypeVar("T")

    @activity.defn
    def same(value: list[T]) -> list[T]:
        return value

    same.definition.resolve()
    assert "generic" in caplog.text


def test_an_activity_is_pickled_by_name() -> None:
    """It crosses into another process as module and name, with its options and its instance."""
    assert greet.definition is pickle.loads(pickle.dumps(greet)).definition
    moved = pickle.loads(pickle.dumps(Bank("u").charge.with_options(task_queue="q")))
    assert ("u", "q") == (moved.instance.url, moved._options["task_queue"])


def test_an_activity_passes_for_its_function() -> None:
    """Name, docs and signature are the function's, and `autospec` makes an async mock."""
    assert inspect.iscoroutinefunction(greet) or asyncio.iscoroutinefunction(greet)
    assert ["name", "loud"] == list(inspect.signature(greet).parameters)


async def test_autospec_gives_something_to_await() -> None:
    """A patched activity is awaited as the activity is."""
    with mock.patch(f"{__name__}.greet", autospec=True) as patched:
        patched.return_value = "mocked"
        assert "mocked" == await greet("a")


def test_outside_an_activity_there_is_no_info() -> None:
    """The message says where it works."""
    asked = activity.info, activity.is_cancelled, activity.cancellation_details
    calls = *asked, activity.heartbeat, activity.raise_complete_async, activity.transaction
    for call in calls:
        with pytest.raises(RuntimeError, match="inside a running activity"):
            call()


def test_a_plain_call_outside_leaves_no_warning() -> None:
    """Running a call to its end is silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "a" == asyncio.run(greet("a"))
