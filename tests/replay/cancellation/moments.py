"""When the request comes: before the first task, or together with the end of what is waited for.

More of the latter are in `test_together`.
"""

from __future__ import annotations

import asyncio

from perdure import workflow
from perdure_proto import commands as cmd
from tests.replay.cancellation.shields import shields_activity
from tests.replay.cancellation.story import story, work
from tests.replay.service import Service

# The first task.


@workflow.defn
async def cleans_up() -> str:
    try:
        return await work("long")
    finally:
        await work("clean")


@story(cleans_up, "activity", "cancelled")
def cancelled_before_the_first_task(told: Service) -> None:
    told.request_cancel("stop")
    (command,) = told.turn()
    assert isinstance(command, cmd.ScheduleActivityTask)
    assert b'["clean"]' == bytes(command.input)
    told.complete("2", "clean")
    told.turn()


@workflow.defn
async def returns_at_once() -> str:
    return f"done, {workflow.cancellation_reason()}"


@story(returns_at_once, "completed", result="done, None")
def a_body_that_never_waits_does_not_hear_of_it(told: Service) -> None:
    told.request_cancel("stop")
    told.turn()


@story(shields_activity, "activity", "activity", "completed", result="used")
def shielded_before_the_first_task(told: Service) -> None:
    told.request_cancel("stop")
    told.turn()
    told.complete("1", "done")
    told.turn()
    told.complete("2", "used")
    told.turn()


# Together with something else: a condition, a timer, a child, an activity.


@workflow.defn
async def waits_for_condition() -> str:
    ready = False

    @workflow.signal(name="go")
    def _go(_: str) -> None:
        nonlocal ready
        ready = True

    try:
        await workflow.wait_condition(lambda: ready, timeout=60)
    except asyncio.CancelledError:
        return f"told, {ready}"
    return "ready"


@story(waits_for_condition, "timer", "stop timer, completed", result="told, False")
def cancelled_before_a_condition_is_ready(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.signal("go", "x")
    told.turn()


@story(waits_for_condition, "timer", "stop timer, completed", result="told, True")
def cancelled_after_a_condition_is_ready(told: Service) -> None:
    told.turn()
    told.signal("go", "x")
    told.request_cancel()
    told.turn()


@story(waits_for_condition, "timer", "completed", result="told, False")
def cancelled_before_the_timeout_of_a_condition(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.fire_timer()
    told.turn()


@story(waits_for_condition, "timer", "completed", result="told, False")
def cancelled_after_the_timeout_of_a_condition(told: Service) -> None:
    told.turn()
    told.fire_timer()
    told.request_cancel()
    told.turn()


@workflow.defn
async def limits_time() -> str:
    try:
        async with asyncio.timeout(60):
            return await work("long")
    except TimeoutError:
        return "too slow"


@story(limits_time, "timer, activity", "stop activity, cancelled")
def cancelled_before_a_timeout(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.fire_timer()
    told.turn()


@story(limits_time, "timer, activity", "stop activity, cancelled")
def cancelled_after_a_timeout(told: Service) -> None:
    told.turn()
    told.fire_timer()
    told.request_cancel()
    told.turn()


@workflow.defn
async def waits_for_it() -> str:
    return await asyncio.wait_for(work("long"), 60)


@story(waits_for_it, "timer, activity", "stop activity, stop timer, cancelled")
def wait_for_is_cancelled(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()


@story(waits_for_it, "timer, activity", "stop timer, cancelled")
def wait_for_is_cancelled_after_its_end(told: Service) -> None:
    told.turn()
    told.complete("1", "done")
    told.request_cancel()
    told.turn()


@story(waits_for_it, "timer, activity", "stop timer, cancelled")
def wait_for_is_cancelled_before_its_end(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.complete("1", "done")
    told.turn()


@workflow.defn
async def waits_too_long() -> str:
    try:
        return await asyncio.wait_for(work("long"), 60)
    except TimeoutError:
        return "too slow"


@story(waits_too_long, "timer, activity", "completed", result="too slow")
def wait_for_is_over_before_its_end(told: Service) -> None:
    told.turn()
    told.fire_timer()
    told.complete("1", "late")
    told.turn()


@story(waits_too_long, "timer, activity", "completed", result="just in time")
def wait_for_ends_before_it_is_over(told: Service) -> None:
    told.turn()
    told.complete("1", "just in time")
    told.fire_timer()
    told.turn()
