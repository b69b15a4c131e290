"""The stories: what runs in which order, one kind of waiting after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from tests.replay.interleaving.story import Story, Tell, note
from tests.replay.service import update

STORIES: dict[str, tuple[Any, Tell]] = {}


def story(program: Any) -> Callable[[Tell], Tell]:
    """Enters a story, by the name of what tells it."""

    def enter(tell: Tell) -> Tell:
        STORIES[tell.__name__] = (program, tell)
        return tell

    return enter


@activity.defn(start_to_close_timeout=timedelta(seconds=5))
async def work(value: str) -> str:
    return value


async def do(name: str, waits: Awaitable[Any]) -> None:
    """Waits for one thing and says so."""
    note(f"{name} begins")
    try:
        value = await waits
    except asyncio.CancelledError:
        note(f"{name} is cancelled")
        raise
    except TimeoutError:
        note(f"{name} times out")
    else:
        note(f"{name} goes on" if value is None else f"{name} has {value}")


async def steps(name: str, count: int) -> None:
    """Lets others run between its steps."""
    for number in range(count):
        note(f"{name} {number}")
        await asyncio.sleep(0)


def start(*tasks: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(one) for one in tasks]


# Tasks.


@workflow.defn
async def tasks_program() -> None:
    note("main before")
    first, second = start(steps("a", 3), steps("b", 2))
    first.add_done_callback(lambda _: note("callback of a"))
    note("main after")
    await steps("main", 2)
    await asyncio.gather(first, second)
    note("main gathered")
    async with asyncio.TaskGroup() as group:
        group.create_task(steps("c", 1))
        group.create_task(steps("d", 1))
        note("main in the group")
    note("main after the group")
    done, pending = await asyncio.wait(start(steps("e", 2), steps("f", 1)), return_when=asyncio.FIRST_COMPLETED)
    note(f"main waited: {len(done)} done, {len(pending)} pending")


@story(tasks_program)
def tasks(told: Story) -> None:
    told.turn()


# Messages.


@workflow.defn
async def messages_program() -> None:
    @workflow.signal
    async def slow(value: int) -> None:
        note(f"signal slow {value}")
        await asyncio.sleep(0)
        note(f"signal slow {value} again")

    @workflow.signal
    def plain(value: int) -> None:
        note(f"signal plain {value}")

    @workflow.update
    async def change(value: int) -> int:
        note(f"update {value}")
        await asyncio.sleep(0)
        note(f"update {value} again")
        return value

    @change.validator
    def _(value: int) -> None:
        if not workflow.is_replaying() and value < 0:  # a replay does not judge: no note here
            raise ValueError("negative")

    @workflow.update
    def at_once(value: int) -> int:
        note(f"update at once {value}")
        return value

    note("main begins")
    channel = workflow.signal_channel("items", int)
    while (item := await channel.receive()) > 0:
        note(f"main takes {item}")
    note("main ends")


@story(messages_program)
def messages_with_the_start(told: Story) -> None:
    told.signal("slow", 1)
    told.signal("items", 2)
    told.signal("plain", 3)
    told.turn(update("u-1", "change", 4), update("u-2", "at_once", 5), update("u-3", "change", -1))
    told.signal("items", 0)
    told.turn()


@story(messages_program)
def messages_later(told: Story) -> None:
    told.turn()
    told.signal("plain", 1)
    told.signal("items", 2)
    told.signal("slow", 3)
    told.signal("items", 4)
    told.signal("slow", 5)
    told.turn(update("u-1", "at_once", 6), update("u-2", "change", 7), update("u-3", "at_once", 8))
    told.turn(update("u-4", "change", -1), update("u-5", "change", 9))
    told.signal("items", 0)
    told.turn(update("u-6", "change", 10))


@workflow.defn
async def late_handlers_program() -> None:
    """Messages wait for handlers that come later."""
    note("main begins")
    await asyncio.sleep(1)

    @workflow.signal
    def first(value: int) -> None:
        note(f"signal first {value}")

    note("main declared one")
    await asyncio.sleep(0)
    note("main went on")

    @workflow.signal(dynamic=True)
    def _(name: str, values: list[int]) -> None:
        note(f"signal {name} {values}")

    note("main declared the other")


@story(late_handlers_program)
def late_handlers(told: Story) -> None:
    told.signal("other", 1)
    told.signal("first", 2)
    told.turn()
    told.signal("first", 3)
    told.fire_timer()
    told.signal("other", 4)
    told.turn()


# Results and timers.


@workflow.defn
async def results_program() -> None:
    note("main begins")
    waiting = start(
        do("a", work("a")),
        do("nap", asyncio.sleep(5)),
        do("b", work("b")),
        do("other nap", workflow.sleep(3)),
    )
    handle = work.start("c")
    note("main scheduled c")
    await do("main", asyncio.wait_for(asyncio.shield(waiting[0]), 60))
    for ready in asyncio.as_completed([*waiting[1:], asyncio.ensure_future(handle)]):
        await ready
        note("main: one more")


@story(results_program)
def results_in_one_turn(told: Story) -> None:
    told.turn()
    told.fire_timer(3)
    told.complete("3", "B")
    told.complete("2", "A")
    told.fire_timer(2)
    told.complete("1", "C")
    told.turn()


@story(results_program)
def results_one_by_one(told: Story) -> None:
    told.turn()
    for activity_id in ("3", "1", "2"):
        told.complete(activity_id, f"result of {activity_id}")
        told.turn()
    told.fire_timer(3)
    told.turn()
    told.fire_timer(2)
    told.turn()


# Conditions.


@workflow.defn
async def conditions_program() -> None:
    value = 0

    async def until(name: str, wanted: int, then: int) -> None:
        nonlocal value
        await workflow.wait_condition(lambda: value >= wanted)
        note(f"{name}: {value}")
        value = then

    @workflow.signal
    def add(amount: int) -> None:
        nonlocal value
        value += amount
        note(f"signal makes it {value}")

    waiting = start(until("first", 3, 4), until("second", 2, 3), until("third", 1, 2), until("true", 0, 0))
    await workflow.wait_condition(lambda: value >= 10)
    note("main goes on")
    await asyncio.gather(*waiting)


@story(conditions_program)
def conditions(told: Story) -> None:
    told.turn()
    told.signal("add", 1)
    told.turn()
    told.signal("add", 1)
    told.signal("add", 9)
    told.turn()


@workflow.defn
async def condition_timeouts_program() -> None:
    ready = False

    @workflow.signal
    def go() -> None:
        nonlocal ready
        ready = True
        note("signal go")

    def is_ready() -> bool:
        return ready

    for number in range(3):
        await do(f"wait {number}", workflow.wait_condition(is_ready, timeout=5))
        ready = False


@story(condition_timeouts_program)
def a_condition_and_its_timeout(told: Story) -> None:
    told.turn()
    told.signal("go")
    told.turn()
    told.fire_timer(2)
    told.turn()
    told.signal("go")
    told.fire_timer(3)
    told.turn()


# What asyncio has to wait with.


@workflow.defn
async def locks_program() -> None:
    lock, semaphore, event = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Event()
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def locked(name: str) -> None:
        async with lock:
            note(f"{name} has the lock")
            await asyncio.sleep(0)
            note(f"{name} leaves the lock")

    async def limited(name: str) -> None:
        async with semaphore:
            note(f"{name} is let in")
            await asyncio.sleep(0)
        note(f"{name} is out")

    async def produce() -> None:
        for item in range(3):
            await queue.put(item)
            note(f"put {item}")

    async def consume() -> None:
        for _ in range(3):
            note(f"got {await queue.get()}")

    @workflow.signal
    async def also() -> None:
        await asyncio.gather(locked("signal"), limited("signal"))
        event.set()
        note("signal sets the event")

    await asyncio.gather(*[locked(name) for name in "abc"])
    await asyncio.gather(*[limited(name) for name in "abc"])
    await asyncio.gather(produce(), consume())
    waiting = start(do("d", event.wait()), do("e", event.wait()))
    held = asyncio.create_task(locked("main"))
    await asyncio.sleep(1)
    await asyncio.gather(held, *waiting)


@story(locks_program)
def locks(told: Story) -> None:
    told.turn()
    told.signal("also")
    told.turn()
    told.fire_timer()
    told.turn()


@workflow.defn
async def timeouts_program() -> None:
    async def limited(name: str, seconds: float, value: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                note(f"{name} has {await work(value)}")
        except TimeoutError:
            note(f"{name} timed out")

    await asyncio.gather(
        limited("in time", 5, "a"), limited("late", 6, "b"), do("waited for", asyncio.wait_for(work("c"), 7))
    )


@story(timeouts_program)
def timeouts_and_results_in_one_turn(told: Story) -> None:
    told.turn()
    told.complete("1", "A")
    told.fire_timer(1)
    told.fire_timer(2)
    told.complete("2", "B")
    told.complete("3", "C")
    told.fire_timer(3)
    told.turn()


@workflow.defn
async def failures_program() -> None:
    async def fails(name: str) -> None:
        await work(name)
        note(f"{name} fails")
        raise ValueError(name)

    results = await asyncio.gather(fails("a"), do("b", asyncio.sleep(9)), return_exceptions=True)
    note(f"main gathered {results}")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(do("c", asyncio.sleep(9)))
            group.create_task(fails("d"))
            group.create_task(do("e", workflow.wait_condition(lambda: False)))
            await do("main", asyncio.sleep(9))
    except* ValueError as errors:
        note(f"main has {errors.exceptions}")


@story(failures_program)
def failures(told: Story) -> None:
    told.turn()
    told.complete("1", "A")
    told.fire_timer(1)
    told.turn()
    told.complete("2", "D")
    told.turn()


@workflow.defn
async def taken_back_program() -> None:
    """A receive that is cancelled when its value is there gives it to the next in line."""
    channel = workflow.signal_channel("items", int)
    first, second, third = start(*[do(name, channel.receive()) for name in ("first", "second", "third")])

    @workflow.signal
    def leave() -> None:
        note("signal leave")
        first.cancel()

    inner = asyncio.create_task(do("inner", channel.receive()))
    outer = asyncio.create_task(do("outer", asyncio.shield(inner)))
    await second
    outer.cancel()
    note("main cancels the outer task")
    await asyncio.gather(first, third, outer, inner, return_exceptions=True)
    note("main ends")


@story(taken_back_program)
def values_taken_back(told: Story) -> None:
    told.turn()
    told.signal("leave")
    told.signal("items", 1)
    told.turn()
    told.signal("items", 2)
    told.signal("items", 3)
    told.turn()


# Cancellation.


@workflow.defn
async def cancelled_program() -> None:
    async def cleans_up() -> None:
        try:
            await asyncio.sleep(50)
        finally:
            note("task cleans up")
            await work("clean")
            note("task is clean")

    ready = False

    @workflow.signal
    def go() -> None:
        nonlocal ready
        ready = True
        note("signal go")

    task = asyncio.create_task(cleans_up())
    try:
        await do("main", workflow.wait_condition(lambda: ready))
        await asyncio.sleep(10)
        note("main slept")
    except asyncio.CancelledError:
        note("main is told")
        task.cancel()
        await asyncio.wait([task])
        note("main ends")
        raise


@story(cancelled_program)
def cancel_before_the_first_turn(told: Story) -> None:
    told.request_cancel()
    told.turn()
    told.complete("1", "clean")
    told.turn()


@story(cancelled_program)
def cancel_with_a_ready_condition(told: Story) -> None:
    told.turn()
    told.signal("go")
    told.request_cancel()
    told.turn()
    told.complete("1", "clean")
    told.turn()


@story(cancelled_program)
def cancel_after_a_fired_timer(told: Story) -> None:
    told.signal("go")
    told.turn()
    told.fire_timer(2)
    told.request_cancel()
    told.turn()
    told.complete("1", "clean")
    told.turn()


# The end.


@workflow.defn
async def end_program() -> str:
    """What is under way when the body returns runs on to rest, and no further."""
    ended = False

    @workflow.update
    async def last(value: int) -> int:
        note(f"update {value} begins")
        await workflow.wait_condition(lambda: ended)
        note(f"update {value} ends")
        return value

    @workflow.signal
    async def also() -> None:
        note("signal begins")
        await work("too late")
        note("never")

    item = await workflow.signal_channel("items", int).receive()
    note(f"main takes {item} and returns")
    ended = True
    return "done"


@story(end_program)
def the_end(told: Story) -> None:
    told.turn(update("u-1", "last", 1))
    told.signal("items", 2)
    told.signal("also")
    told.turn(update("u-2", "last", 3))


# A bit of everything.


@workflow.defn
async def everything_program() -> None:
    lock = asyncio.Lock()
    total = 0

    async def add(who: str, amount: int) -> None:
        nonlocal total
        async with lock:
            note(f"{who} begins")
            await work(who)
            total += amount
            note(f"{who} makes it {total}")

    @workflow.signal
    async def on_signal(amount: int) -> None:
        await add(f"signal {amount}", amount)

    @workflow.update
    async def on_update(amount: int) -> int:
        await add(f"update {amount}", amount)
        return total

    async def ticks() -> None:
        while total < 10:
            await asyncio.sleep(2)
            note(f"tick at {total}")

    ticking = asyncio.create_task(ticks())
    await workflow.wait_condition(lambda: total >= 10)
    note("main has enough")
    await ticking
    await workflow.wait_condition(workflow.all_handlers_finished)
    note("main ends")


@story(everything_program)
def everything(told: Story) -> None:
    told.signal("on_signal", 1)
    told.turn(update("u-1", "on_update", 2))
    told.complete("1", "one")
    told.fire_timer(1)
    told.signal("on_signal", 3)
    told.turn()
    told.fire_timer(2)
    told.complete("2", "two")
    told.turn(update("u-2", "on_update", 4))
    told.complete("3", "three")
    told.turn()
    told.fire_timer(3)
    told.complete("4", "four")
    told.turn()
