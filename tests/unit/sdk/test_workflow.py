"""What workflow code can ask for, and what it gets outside of a workflow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from perdure import activity, workflow
from perdure._runtime import CancelExternalRequest, SignalExternalRequest, Target
from perdure.exceptions import ContinueAsNewError, ConversionError
from perdure_proto.options import RetryPolicy
from tests.unit.sdk.stand_in import NOW, inside


@workflow.defn
async def hello(name: str, *, loud: bool = False) -> str:
    return name


@workflow.defn(name="other", failure_exception_types=[Exception], versioning_behavior="pinned")
async def second(count: int) -> int:
    return count


paid = workflow.Signal[int]("paid")


class Opaque:
    pass


@activity.defn
async def work() -> None: ...


def test_a_workflow_is_its_definition() -> None:
    """Name, function and options are kept."""
    assert ("hello", "other") == (hello.name, second.name)
    assert [Exception] == second.definition.failure_exception_types
    assert "pinned" == second.definition.versioning_behavior
    assert "Ada" == asyncio.run(hello.fn("Ada"))


def test_a_workflow_is_an_async_def() -> None:
    """Anything else is refused at once."""
    with pytest.raises(TypeError, match="async def"):
        cast(Any, workflow.defn)(lambda: None)


async def test_a_workflow_outside_a_workflow_says_what_to_do() -> None:
    """It would not be durable."""
    with pytest.raises(RuntimeError, match=r"client.start_workflow\(hello, …\), or hello.fn"):
        await hello("Ada")


async def test_a_child_is_a_request_with_its_options() -> None:
    """By call, by start and by name: arguments, types and options go to the runtime; what is None does not."""
    with inside() as runtime:
        runtime.results = ["done", None, 3, None]
        assert "done" == await hello.with_options(id="c", memo=cast(Any, None), retry_policy="none")("Ada")
        _ = await hello.with_options(parent_close_policy="abandon").start("Bob")
        assert 3 == await workflow.execute_child_workflow("far", args=[1], result_type=int, task_queue="q")
        _ = await workflow.start_child_workflow("far")
    called, begun, named, last = runtime.children
    assert ("hello", ("Ada",), "c", str, {}) == (
        called.workflow_type,
        called.args,
        called.id,
        called.result_type,
        called.memo,
    )
    assert RetryPolicy(maximum_attempts=1) == called.retry_policy
    assert ("abandon", "wait_cancellation_completed") == (begun.parent_close_policy, begun.cancellation_type)
    assert ("far", (1,), int, "q", None) == (
        named.workflow_type,
        named.args,
        named.result_type,
        named.task_queue,
        named.arg_types,
    )
    assert (Any, ()) == (last.result_type, last.args)


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"idd": "x"}, TypeError, "a child workflow has no option 'idd'"),
    ({"run_timeout": 3}, TypeError, "run_timeout is a timedelta"),
    ({"parent_close_policy": "kill"}, ValueError, "parent_close_policy is one of terminate, abandon, request_cancel"),
    ({"cancellation_type": "maybe"}, ValueError, "cancellation_type is one of .*, not 'maybe'"),
    ({"id_reuse_policy": "fail"}, ValueError, "id_reuse_policy is one of allow_duplicate"),
]


@pytest.mark.parametrize(
    ("options", "error", "message"), BAD_OPTIONS, ids=lambda one: next(iter(one)) if isinstance(one, dict) else ""
)
async def test_a_bad_option_of_a_child_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """In every form, before anything is asked of the service."""
    with inside() as runtime:
        with pytest.raises(error, match=message):
            hello.with_options(**cast(Any, options))
        with pytest.raises(error, match=message):
            await workflow.execute_child_workflow("hello", **cast(Any, options))
    assert [] == runtime.children


async def test_another_workflow_is_told_by_request() -> None:
    """Signals and cancels name their target; a run and a namespace only where they were given."""
    with inside() as runtime:
        other = workflow.external("o", run_id="r", namespace="n")
        await other.signal(paid, 3)
        await workflow.external("p").cancel("enough")
    signal, cancel = runtime.sent
    assert isinstance(signal, SignalExternalRequest)
    assert isinstance(cancel, CancelExternalRequest)
    assert Target(workflow_id="o", run_id="r", namespace="n") == signal.target
    assert ("paid", (3,)) == (signal.signal_name, signal.args)
    assert (Target(workflow_id="p"), "enough") == (cancel.target, cancel.reason)
    assert "<external workflow o>" == repr(other)


async def test_children_and_others_need_a_workflow() -> None:
    """Outside of one each call says what is missing."""
    with pytest.raises(RuntimeError, match=r"client.start_workflow\(hello, …\), or hello.fn"):
        _ = await hello.start("Ada")
    with pytest.raises(RuntimeError, match="a child workflow"):
        await workflow.execute_child_workflow("hello")
    with pytest.raises(RuntimeError, match=r"workflow.external\(\)"):
        workflow.external("o")


def test_a_run_asks_for_the_one_before() -> None:
    """The last result and the last failure, inside of a workflow alone."""
    with inside() as runtime:
        assert (False, None) == (workflow.has_last_completion_result(), workflow.get_last_completion_result())
        runtime.last_result = 3
        assert (True, 3) == (workflow.has_last_completion_result(), workflow.get_last_completion_result(int))
        assert isinstance(workflow.get_last_failure(), ValueError)
    for ask in (
        workflow.has_last_completion_result,
        workflow.get_last_completion_result,
        workflow.get_last_failure,
    ):
        with pytest.raises(RuntimeError, match=rf"workflow\.{ask.__name__}\(\)"):
            ask()


OUTSIDE: list[Callable[[], object]] = [
    workflow.info,
    workflow.now,
    workflow.time,
    workflow.uuid4,
    workflow.random,
    workflow.is_replaying,
    workflow.all_handlers_finished,
    workflow.cancellation_reason,
    workflow.current_update,
    lambda: workflow.patched("p"),
    workflow.continue_as_new,
    lambda: workflow.signal_channel("s"),
    lambda: workflow.start_activity("a"),
]


@pytest.mark.parametrize("call", OUTSIDE)
def test_outside_a_workflow_every_question_is_refused(call: Callable[[], object]) -> None:
    """The message says where it works."""
    with pytest.raises(RuntimeError, match="only inside a workflow"):
        call()


def test_questions_are_answered_by_the_runtime() -> None:
    """Time, chance and identity are the run's own."""
    with inside() as runtime:
        assert NOW == workflow.now()
        assert NOW.timestamp() == workflow.time()
        assert runtime.random().random() == workflow.random().random()
        assert 7 == workflow.info().get_current_history_length()
        assert not workflow.info().is_continue_as_new_suggested()
        assert workflow.in_workflow()
        assert workflow.patched("p")
        workflow.deprecate_patch("p")
    assert [("p", False), ("p", True)] == runtime.patches
    assert not workflow.in_workflow()


async def test_sleep_is_a_timer() -> None:
    """A timedelta or seconds; nothing to wait for is only a step."""
    with inside() as runtime:
        await workflow.sleep(timedelta(minutes=1), summary="rest")
        await workflow.sleep(2.5)
        await workflow.sleep(0)
    assert [(60.0, "rest"), (2.5, None)] == runtime.timers


async def test_wait_condition_ends_with_its_timeout() -> None:
    """A condition that does not come true raises `TimeoutError`."""
    with inside():
        await workflow.wait_condition(lambda: True, timeout=1)
        with pytest.raises(TimeoutError):
            await workflow.wait_condition(lambda: False, timeout=timedelta(0))


async def test_an_activity_by_name_is_a_request() -> None:
    """Code in another repository is called by name, typed by `result_type`."""
    with inside() as runtime:
        runtime.results += ["a", "b", "c"]
        assert "a" == await workflow.execute_activity("charge", args=[3], result_type=str)
        await workflow.execute_local_activity("charge", start_to_close_timeout=timedelta(seconds=1))
        await workflow.start_activity("charge", task_queue="q")
    first, local, started = runtime.activities
    assert ((3,), str, None) == (first.args, first.result_type, first.arg_types)
    assert timedelta(minutes=1) == first.start_to_close_timeout
    assert local.local
    assert ("q", Any) == (started.task_queue, started.result_type)


def request_of(call: Callable[[], object]) -> Any:
    with inside(), pytest.raises(ContinueAsNewError) as caught:
        call()
    return caught.value.request


def test_continue_as_new_takes_arguments_or_a_call() -> None:
    """A call carries its keyword arguments and its types; arguments alone mean the same workflow."""
    same = request_of(lambda: workflow.continue_as_new("Bob", task_queue="q", memo={"a": 1}))
    assert (("Bob",), {}, None, "q", {"a": 1}) == (
        same.args,
        same.kwargs,
        same.workflow_type,
        same.task_queue,
        same.memo,
    )
    call = request_of(lambda: workflow.continue_as_new(hello("Bob", loud=True)))
    assert (("Bob",), {"loud": True}, "hello") == (call.args, call.kwargs, call.workflow_type)
    assert [str] == list(call.arg_types)
    other = request_of(lambda: workflow.continue_as_new(3, workflow=second))
    assert ("other", [int]) == (other.workflow_type, list(other.arg_types))
    assert "named" == request_of(lambda: workflow.continue_as_new(workflow="named")).workflow_type


def test_continue_as_new_goes_on_with_a_workflow() -> None:
    """The call of an activity is refused."""
    with inside(), pytest.raises(TypeError, match="goes on with a workflow"):
        workflow.continue_as_new(work())


def test_the_logger_speaks_through_the_runtime() -> None:
    """The runtime drops what was logged before; an exception becomes text."""
    with inside() as runtime:
        workflow.logger.warning("hi %s", "Ada", extra={"a": 1})
        workflow.logger.debug("below the level")
        try:
            raise ValueError("100%")
        except ValueError:
            workflow.logger.exception("bad %d", 1)
    (level, message, args, extra), (_, bad, bad_args, _) = runtime.logged
    assert (logging.WARNING, "hi %s", ("Ada",), {"a": 1}) == (level, message, args, extra)
    assert "ValueError: 100%" in bad % bad_args


def test_the_logger_works_outside(caplog: pytest.LogCaptureFixture) -> None:
    """Code under test logs as any code."""
    workflow.logger.warning("hi %s", "Ada")
    assert "hi Ada" in caplog.text


def test_types_of_a_workflow_are_checked_at_registration() -> None:
    """The parameter that cannot be read is named."""

    @workflow.defn
    async def takes(value: Opaque) -> None: ...

    with pytest.raises(ConversionError, match=r"takes\(\) parameter 'value'"):
        takes.definition.resolve()


def test_a_channel_of_a_type_nobody_can_read_is_refused() -> None:
    """The signal is named."""
    with inside(), pytest.raises(ConversionError, match="signal 's'"):
        workflow.signal_channel("s", Opaque)
