"""What is shielded goes on when its workflow is asked to stop."""

from __future__ import annotations

import asyncio

from perdure import workflow
from perdure_proto import commands as cmd
from tests.replay import others
from tests.replay.cancellation.story import child, go, kept, story, work
from tests.replay.service import Service


@workflow.defn
async def shields_activity() -> str:
    return await work(await kept(work.start("long")))


@story(shields_activity, "activity", "", "activity", "completed", result="used")
def a_shielded_activity_is_used_afterwards(told: Service) -> None:
    told.turn()
    told.request_cancel("stop")
    told.turn()
    told.complete("1", "done")
    told.turn()
    told.complete("2", "used")
    told.turn()


@story(shields_activity, "activity", "activity")
def a_shielded_activity_completes_in_the_same_activation(told: Service) -> None:
    told.turn()
    told.request_cancel("stop")
    told.complete("1", "done")
    (command,) = told.turn()
    assert isinstance(command, cmd.ScheduleActivityTask)
    assert b'["done in spite of stop"]' == bytes(command.input)


@story(shields_activity, "activity", "activity")
def a_shielded_activity_completes_just_before(told: Service) -> None:
    told.turn()
    told.complete("1", "done")
    told.request_cancel("stop")
    (command,) = told.turn()
    assert isinstance(command, cmd.ScheduleActivityTask)
    assert b'["done in spite of stop"]' == bytes(command.input)


@workflow.defn
async def shields_child() -> str:
    return await kept(child.with_options(id="c")())


@story(shields_child, "child", "", "", "completed", result="fine in spite of stop")
def a_shielded_child_goes_on(told: Service) -> None:
    told.turn()
    told.request_cancel("stop")
    told.turn()
    others.start(told)
    told.turn()
    others.complete(told, "c", "fine")
    told.turn()


@workflow.defn
async def shields_signal() -> str:
    return await kept(workflow.external("other").signal(go, "x"))


@story(shields_signal, "signal", "", "completed", result="None in spite of stop")
def a_shielded_signal_is_delivered(told: Service) -> None:
    told.turn()
    told.request_cancel("stop")
    told.turn()
    others.signaled(told)
    told.turn()


@workflow.defn
async def signals() -> str:
    await workflow.external("other").signal(go, "x")
    return f"sent, {workflow.cancellation_reason()}"


@story(signals, "signal", "", "completed", result="sent, stop")
def a_signal_that_has_left_is_waited_for(told: Service) -> None:
    told.turn()
    told.request_cancel("stop")
    told.turn()
    others.signaled(told)
    told.turn()


@workflow.defn
async def shields_and_leaves() -> str:
    return await asyncio.shield(work.start("long"))


@story(shields_and_leaves, "activity", "cancelled")
def what_is_shielded_and_not_awaited_is_left_alone(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()


@workflow.defn
async def shields_steps() -> str:
    async def steps() -> str:
        return await work(await work("one"))

    return await kept(steps())


@story(shields_steps, "activity", "", "activity", "completed", result="two in spite of stop")
def shielded_code_goes_on_from_step_to_step(told: Service) -> None:
    told.turn()
    told.request_cancel("stop")
    told.turn()
    told.complete("1", "one")
    told.turn()
    told.complete("2", "two")
    told.turn()
