"""What a workflow does when it was asked: it cleans up, stays, fails, begins anew."""

from __future__ import annotations

import asyncio

from perdure import workflow
from perdure.exceptions import ApplicationError
from perdure_proto import events as ev
from perdure_proto.failures import ApplicationFailure
from tests.replay import others
from tests.replay.cancellation.moments import cleans_up
from tests.replay.cancellation.story import child, story, work
from tests.replay.service import Service

# Swallowed, and what then.


@workflow.defn
async def decides() -> str:
    """The reason says what it does when it is asked to stop."""
    try:
        await work("long")
    except asyncio.CancelledError:
        match workflow.cancellation_reason():
            case "stay":
                return await work("more")
            case "fail":
                raise ApplicationError("could not stop", type="Stuck") from None
            case "fail later":
                await work("more")
                raise ValueError("could not stop") from None
            case "begin anew":
                workflow.continue_as_new()
            case _:
                raise
    return "was not asked"


@story(decides, "activity", "stop activity, activity", "completed", result="stayed")
def swallowed_then_returned(told: Service) -> None:
    told.turn()
    told.request_cancel("stay")
    told.turn()
    told.complete("2", "stayed")
    told.turn()


@story(decides, "activity", "stop activity, failed")
def cancelled_then_another_exception(told: Service) -> None:
    told.turn()
    told.request_cancel("fail")
    told.turn()
    assert "Stuck" == _failed_with(told)


@story(decides, "activity", "stop activity, activity", "failed")
def swallowed_then_failed(told: Service) -> None:
    told.turn()
    told.request_cancel("fail later")
    told.turn()
    told.complete("2", "more")
    told.turn()
    assert "ValueError" == _failed_with(told)


@story(decides, "activity", "stop activity, continued")
def swallowed_then_continued_as_new(told: Service) -> None:
    told.turn()
    told.request_cancel("begin anew")
    told.turn()


@story(decides, "activity", "stop activity, activity", "")
def asked_again_while_it_stays(told: Service) -> None:
    """The service writes one request alone; a history of elsewhere may have two."""
    told.turn()
    told.request_cancel("stay")
    told.turn()
    told.request_cancel("again")
    told.turn()


def _failed_with(service: Service) -> str:
    (failed,) = service.of(ev.WorkflowExecutionFailed)
    assert isinstance(failed.failure.info, ApplicationFailure)
    return failed.failure.info.type


# Cleaning up.


@story(cleans_up, "activity", "stop activity, activity", "failed")
def a_clean_up_that_fails(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()
    told.fail("2")
    told.turn()


@workflow.defn
async def cleans_up_in_time() -> str:
    try:
        return await work("long")
    except asyncio.CancelledError:
        try:
            async with asyncio.timeout(60):
                return await work("clean")
        except TimeoutError:
            return "left as it was"


@story(cleans_up_in_time, "activity", "stop activity, timer, activity", "stop timer, completed", result="clean")
def a_clean_up_in_time(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()
    told.complete("2", "clean")
    told.turn()


@story(
    cleans_up_in_time,
    "activity",
    "stop activity, timer, activity",
    "stop activity, completed",
    result="left as it was",
)
def a_clean_up_that_takes_too_long(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()
    told.fire_timer()
    told.turn()


@workflow.defn
async def cleans_up_at_once() -> str:
    """The clean-up is of several tasks, of which one may fail."""
    try:
        return await work("long")
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        try:
            async with asyncio.TaskGroup() as group:
                first = group.create_task(work("a"))
                second = group.create_task(work("b"))
                await workflow.sleep(60)
        except ExceptionGroup as errors:
            return f"{len(errors.exceptions)} failed"
    return f"{first.result()} and {second.result()}"


@story(
    cleans_up_at_once,
    "activity",
    "stop activity, timer, activity, activity",
    "stop activity, stop timer, completed",
    result="1 failed",
)
def a_group_that_cleans_up_and_fails(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()
    told.fail("2")
    told.turn()


@workflow.defn
async def leaves_by_child() -> None:
    try:
        await work("long")
    finally:
        await child.with_options(id="c")()


@story(leaves_by_child, "activity", "stop activity, child", "", "cancelled")
def a_child_cleans_up(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()
    others.start(told)
    told.turn()
    others.complete(told, "c", "clean")
    told.turn()
