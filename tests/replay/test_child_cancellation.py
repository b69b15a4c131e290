"""Children that are cancelled, in each of the four ways: before they are there, before they run, and while they do."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from perdure import workflow
from perdure.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError
from perdure_proto import commands as cmd
from perdure_proto import events as ev
from tests.replay import others
from tests.replay.service import Service, names
from tests.replay.test_children import named, not_caught, started

stop = workflow.Signal[None]("stop")


@workflow.defn
async def cancels(how: str, at_once: bool = False) -> str:
    """Cancels its child and says what came of it."""
    task = asyncio.create_task(_awaits(how))
    await asyncio.sleep(0)
    if not at_once:
        await stop.channel().receive()
    task.cancel()
    return await task


async def _awaits(how: Any) -> str:
    try:
        return await named.with_options(cancellation_type=how)("x")
    except asyncio.CancelledError:
        return "cancelled"
    except ChildWorkflowError as error:
        return f"failed: {error.cause}"


@workflow.defn
async def cancels_handle(how: Any) -> str:
    handle = await named.with_options(cancellation_type=how).start("x")
    assert handle.cancel("enough")
    await asyncio.sleep(0)
    done = handle.done()
    try:
        return f"{done} {await handle}"
    except asyncio.CancelledError:
        return f"{done} cancelled"


@workflow.defn
async def cancels_starts(how: Any) -> str:
    task = asyncio.create_task(named.with_options(cancellation_type=how).start("x"))
    await asyncio.sleep(1)
    task.cancel()
    try:
        handle = await task
    except asyncio.CancelledError:
        return "start cancelled"
    try:
        return await handle
    except asyncio.CancelledError:
        return "cancelled"


@workflow.defn
async def times_out() -> str:
    try:
        async with asyncio.timeout(5):
            return await named("x")
    except TimeoutError:
        return "too slow"


@workflow.defn
async def shielded() -> str:
    task = asyncio.create_task(named("x"))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        return f"still {await task}"


def asked_to_cancel(how: str, *, running: bool) -> Service:
    """A run that is about to cancel its child "c", which runs or does not yet."""
    service = Service(cancels, how)
    service.turn()
    if running:
        others.start(service)
        assert [] == service.turn()
    service.signal("stop")
    return service


TYPES = ["try_cancel", "wait_cancellation_completed", "wait_cancellation_requested", "abandon"]


@pytest.mark.parametrize("how", TYPES)
def test_a_child_cancelled_before_its_command_left_never_was(how: str) -> None:
    """Nothing is asked of the service, whatever the type."""
    service = Service(cancels, how, at_once=True)
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    assert "cancelled" == service.result()
    service.check()


@pytest.mark.parametrize("running", [False, True], ids=["before it started", "after it started"])
def test_try_cancel_asks_and_waits_no_longer(running: bool) -> None:
    """The parent goes on in the same turn; what comes of the child later means nothing to it."""
    service = asked_to_cancel("try_cancel", running=running)
    commands = service.turn()
    assert ["RequestCancelExternalWorkflowExecution", "CompleteWorkflowExecution"] == names(commands)
    expected = cmd.RequestCancelExternalWorkflowExecution(workflow_id="c", child_workflow_only=True)
    assert expected == commands[0]
    assert "cancelled" == service.result()
    service.check()


@pytest.mark.parametrize("running", [False, True], ids=["before it started", "after it started"])
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (others.cancel, "cancelled"),
        (lambda service: others.complete(service, "c", "done"), "done"),
        (others.fail, "failed: ValueError: boom"),
        (others.terminate, "failed: Terminated"),
    ],
    ids=["cancelled", "completed", "failed", "terminated"],
)
def test_by_default_the_end_of_a_cancelled_child_is_waited_for(
    running: bool, end: Callable[[Service], int], expected: str
) -> None:
    """However it ends, that is what the await gives."""
    service = asked_to_cancel("wait_cancellation_completed", running=running)
    assert ["RequestCancelExternalWorkflowExecution"] == names(service.turn())
    if not running:
        others.start(service)
    others.cancel_requested(service)
    assert [] == service.turn()
    end(service)
    service.turn()
    assert expected == service.result()
    service.check()


@pytest.mark.parametrize("running", [False, True], ids=["before it started", "after it started"])
def test_a_child_that_need_only_be_asked_is_waited_for_until_then(running: bool) -> None:
    """The await ends when the request is there; the end of the child means nothing to it."""
    service = asked_to_cancel("wait_cancellation_requested", running=running)
    assert ["RequestCancelExternalWorkflowExecution"] == names(service.turn())
    if not running:
        others.start(service)
        assert [] == service.turn()
    others.cancel_requested(service)
    service.turn()
    assert "cancelled" == service.result()
    service.check()


def test_a_child_that_could_not_be_asked_is_waited_for_until_its_end() -> None:
    """It is gone: its end is on the way, and says more."""
    service = asked_to_cancel("wait_cancellation_requested", running=True)
    service.turn()
    others.cancel_failed(service)
    assert [] == service.turn()
    others.complete(service, "c", "was quicker")
    service.turn()
    assert "was quicker" == service.result()
    service.check()


@pytest.mark.parametrize("running", [False, True], ids=["before it started", "after it started"])
def test_an_abandoned_child_hears_of_nothing(running: bool) -> None:
    """The await ends at once and nothing is sent."""
    service = asked_to_cancel("abandon", running=running)
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    assert "cancelled" == service.result()
    service.check()


@pytest.mark.parametrize("how", ["try_cancel", "abandon"])
def test_what_comes_of_a_child_that_nobody_waits_for_is_taken_in(how: str) -> None:
    """Answer, start and end of it arrive in a parent that goes on."""

    @workflow.defn
    async def parent() -> str:
        task = asyncio.create_task(named.with_options(cancellation_type=how)("x"))  # type: ignore[arg-type]
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(5)
        return str(task.cancelled())

    service = Service(parent)
    service.turn()
    service.fire_timer()
    service.turn()
    others.start(service)
    service.turn()
    others.complete(service, "c", "late")
    if how == "try_cancel":
        others.cancel_failed(service)
    assert [] == service.turn()
    service.fire_timer(2)
    service.turn()
    assert "True" == service.result()
    service.check()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("try_cancel", "True cancelled"),
        ("wait_cancellation_completed", "False cancelled"),
        ("wait_cancellation_requested", "False cancelled"),
        ("abandon", "True cancelled"),
    ],
)
def test_a_handle_cancels_with_a_reason(how: str, expected: str) -> None:
    """The reason goes to the child, and the await follows the type."""
    service = started(cancels_handle, how)
    requests = [c for c in service.turn() if isinstance(c, cmd.RequestCancelExternalWorkflowExecution)]
    assert ([] if how == "abandon" else ["enough"]) == [request.reason for request in requests]
    if expected.startswith("False"):
        others.cancel_requested(service)
        others.cancel(service)
        service.turn()
    assert expected == service.result()
    service.check()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("try_cancel", "start cancelled"),
        ("wait_cancellation_completed", "cancelled"),
        ("wait_cancellation_requested", "cancelled"),
        ("abandon", "start cancelled"),
    ],
)
def test_a_start_that_is_cancelled_follows_the_type_too(how: str, expected: str) -> None:
    """Where the child is waited for, so is its start."""
    service = Service(cancels_starts, how)
    service.turn()
    service.fire_timer()
    service.turn()
    if expected == "cancelled":
        others.start(service)
        assert [] == service.turn()
        others.cancel_requested(service)
        others.cancel(service)
        service.turn()
    assert expected == service.result()
    service.check()


def test_a_start_that_fails_after_it_was_cancelled_raises() -> None:
    """There was nothing to cancel."""
    service = asked_to_cancel("wait_cancellation_completed", running=False)
    service.turn()
    others.refuse(service)
    others.cancel_failed(service)
    assert ["FailWorkflowExecution"] == names(service.turn())
    (failed,) = service.of(ev.WorkflowExecutionFailed)
    assert WorkflowAlreadyStartedError.__name__ == failed.failure.info.type
    service.check()


def test_cancelling_the_parent_cancels_its_child_with_its_reason() -> None:
    """The parent closes as cancelled once the child has."""
    service = started(not_caught)
    service.turn()
    service.request_cancel("no longer needed")
    (command,) = service.turn()
    assert isinstance(command, cmd.RequestCancelExternalWorkflowExecution)
    assert "no longer needed" == command.reason
    others.cancel_requested(service)
    others.cancel(service)
    assert ["CancelWorkflowExecution"] == names(service.turn())
    service.check()


def test_a_child_that_others_cancelled_closes_a_cancelled_parent_as_cancelled() -> None:
    """Its error is a cancellation by its cause."""
    service = started(not_caught)
    others.cancel(service)
    service.request_cancel()
    assert ["CancelWorkflowExecution"] == names(service.turn())
    service.check()


def test_a_timeout_cancels_the_child_and_waits_for_it() -> None:
    """The block ends when the child has."""
    service = started(times_out)
    service.turn()
    service.fire_timer()
    assert ["RequestCancelExternalWorkflowExecution"] == names(service.turn())
    others.cancel_requested(service)
    others.cancel(service)
    service.turn()
    assert "too slow" == service.result()
    service.check()


def test_a_shielded_child_goes_on() -> None:
    """Nothing is asked of it when the workflow is cancelled."""
    service = started(shielded)
    service.turn()
    service.request_cancel()
    assert [] == service.turn()
    others.complete(service, "c", "fine")
    service.turn()
    assert "still fine" == service.result()
    service.check()


def test_a_child_that_ends_together_with_the_cancellation_has_ended() -> None:
    """What came first in history counts, and nothing is asked of a child that is gone."""
    service = started(not_caught)
    service.turn()
    others.complete(service, "c", "in time")
    service.request_cancel()
    assert "RequestCancelExternalWorkflowExecution" not in names(service.turn())
    service.check()


def test_an_evicted_parent_takes_up_its_children() -> None:
    """A worker that has to replay knows which run and which are cancelled."""
    service = asked_to_cancel("wait_cancellation_completed", running=True)
    service.turn()
    service.evict()
    others.cancel_requested(service)
    others.cancel(service)
    service.turn()
    assert "cancelled" == service.result()
    service.check()
