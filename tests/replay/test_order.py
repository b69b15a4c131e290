"""The order of things, as a golden: one workflow that notes all that happens to it, and its commands."""

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure_worker.outcome import InstanceOptions
from perdure_worker.runtime import WorkflowInstance
from perdure_worker.watchdog import Stall
from tests.replay.service import CONVERTER, RUN_ID, Service, names, update


@activity.defn(start_to_close_timeout=timedelta(seconds=5))
async def work(value: str) -> str:
    return value


@workflow.defn
async def diary() -> list[str]:
    notes: list[str] = []
    note = notes.append

    @workflow.signal
    async def async_signal(value: str) -> None:
        note(f"async {value}")
        await asyncio.sleep(0)
        note(f"async {value} again")

    @workflow.signal
    def plain_signal(value: str) -> None:
        note(f"plain {value}")

    @workflow.update
    async def change(value: str) -> str:
        note(f"update {value}")
        return value

    async def wait_for(entry: str) -> None:
        await workflow.wait_condition(lambda: entry in notes)
        note(f"condition {entry}")

    async def call(value: str) -> None:
        note(await work(value))

    async def nap() -> None:
        await asyncio.sleep(5)
        note("timer")

    note("body")
    tasks = [asyncio.create_task(one) for one in (wait_for("update u"), wait_for("body"), call("a"), nap(), call("b"))]
    try:
        await asyncio.gather(*tasks)
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        note("cancelled")
    await workflow.wait_condition(workflow.all_handlers_finished)
    return notes


def test_first_the_body_then_messages_then_the_loop() -> None:
    """The first activation runs the body to rest before it looks at what came with the start."""
    service = Service(diary)
    service.signal("async_signal", "1")
    service.signal("plain_signal", "2")
    commands = service.turn(update("u-1", "change", "u"))
    assert [
        "ScheduleActivityTask",
        "StartTimer",
        "ScheduleActivityTask",
        "AcceptUpdate",
        "CompleteUpdate",
    ] == names(commands)
    service.request_cancel()
    service.turn()
    assert [
        "body",
        "condition body",
        "async 1",
        "plain 2",
        "async 1 again",
        "update u",
        "condition update u",
        "cancelled",
    ] == service.result()
    service.check()


def test_later_everything_in_the_order_of_history() -> None:
    """Signals, results, timers and cancellation happen as they were written; updates come last."""
    service = Service(diary)
    service.turn()
    service.complete("2", "b")
    service.signal("plain_signal", "1")
    service.fire_timer()
    service.signal("async_signal", "2")
    service.complete("1", "a")
    service.turn(update("u-1", "change", "u"))
    service.request_cancel()
    service.turn()
    assert [
        "body",
        "condition body",
        "b",
        "plain 1",
        "async 2",
        "a",
        "timer",
        "async 2 again",
        "update u",
        "condition update u",
        "cancelled",
    ] == service.result()
    service.check()


class Barking:
    """A watchdog that finds every drive blocked."""

    def run(self, drive: object) -> tuple[None, Stall]:
        return None, Stall(blocked_s=2.5, interrupts=1, thread=1, stack="  in blocked()")


def test_blocked_code_fails_the_task_with_its_stack() -> None:
    """What the watchdog recorded counts, whatever came of the drive."""
    service = Service(diary)
    options = InstanceOptions(converter=CONVERTER, watchdog=Barking())
    service.instance = WorkflowInstance(diary.definition, options, workflow_id="w-1", run_id=RUN_ID)
    outcome = service.instance.activate(service.task())
    assert outcome.failure is not None
    assert "held its thread for 2.5 s" in outcome.failure.message
    assert "in blocked()" in outcome.failure.message
