"""The workflow's loop: order, durable timers, refusals, and the end of a workflow that is taken out of memory."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

from perdure.exceptions import NondeterminismError
from perdure_worker.loop import EndlessActivationError
from tests.unit.worker.rig import START_S, Rig

Program = Callable[[list[str]], Coroutine[Any, Any, None]]


async def _steps(log: list[str], name: str, count: int = 2) -> str:
    for step in range(count):
        log.append(f"{name}{step}")
        await asyncio.sleep(0)
    return name


async def _after(delay: float, log: list[str], name: str) -> str:
    await asyncio.sleep(delay)  # virtual time
    log.append(name)
    return name


async def _gather(log: list[str]) -> None:
    log.append(",".join(await asyncio.gather(_steps(log, "a"), _steps(log, "b"), _after(1, log, "c"))))


async def _wait(log: list[str]) -> None:
    tasks = {asyncio.create_task(_after(delay, log, f"t{delay}")) for delay in (3, 1, 2)}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    log.append(f"done {[task.get_name() for task in done]} pending {[task.get_name() for task in pending]}")
    done, _ = await asyncio.wait(pending)
    log.append(f"done {[task.get_name() for task in done]}")


async def _group(log: list[str]) -> None:
    async def failing() -> None:
        await asyncio.sleep(1)  # virtual time
        raise ValueError

    async def cancelled(name: str) -> None:
        try:
            await asyncio.sleep(9)  # virtual time
        finally:
            log.append(f"cancelled {name}")

    try:
        async with asyncio.TaskGroup() as group:
            for name in "abc":
                _ = group.create_task(cancelled(name))
            _ = group.create_task(failing())
    except* ValueError:
        log.append("group failed")


async def _queue(log: list[str]) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)

    async def consume(name: str) -> None:
        while (item := await queue.get()) >= 0:
            log.append(f"{name}{item}")

    async with asyncio.TaskGroup() as group:
        for name in "ab":
            _ = group.create_task(consume(name))
        for item in (0, 1, 2, 3, -1, -1):
            await queue.put(item)


async def _semaphore(log: list[str]) -> None:
    semaphore = asyncio.Semaphore(2)

    async def enter(name: str) -> None:
        async with semaphore:
            log.append(f"in {name}")
            await asyncio.sleep(1)  # virtual time
        log.append(f"out {name}")

    await asyncio.gather(*(enter(name) for name in "abcd"))


async def _lock_and_event(log: list[str]) -> None:
    lock, event = asyncio.Lock(), asyncio.Event()

    async def work(name: str) -> None:
        async with lock:
            await event.wait()
            log.append(name)

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            _ = group.create_task(work(name))
        await asyncio.sleep(1)  # virtual time
        event.set()


async def _as_completed(log: list[str]) -> None:
    for next_done in asyncio.as_completed([_after(2, log, "slow"), _after(1, log, "fast")]):
        name = await next_done
        log.append(f"got {name}")


async def _timeouts(log: list[str]) -> None:
    try:
        async with asyncio.timeout(2):
            await asyncio.sleep(5)  # virtual time
    except TimeoutError:
        log.append("timeout")
    try:
        await asyncio.wait_for(_after(5, log, "never"), 1)
    except TimeoutError:
        log.append("wait_for")
    log.append(await asyncio.wait_for(_after(1, log, "in time"), 3))


async def _shield(log: list[str]) -> None:
    inner = asyncio.create_task(_after(2, log, "inner"))
    try:
        await asyncio.wait_for(asyncio.shield(inner), 1)
    except TimeoutError:
        log.append("outer gave up")
    log.append(f"still {await inner}")


GOLDENS: dict[Program, list[str]] = {
    _gather: ["a0", "b0", "a1", "b1", "c", "a,b,c"],
    _wait: ["t1", "done ['Task-3'] pending ['Task-2', 'Task-4']", "t2", "t3", "done ['Task-2', 'Task-4']"],
    _group: ["cancelled a", "cancelled b", "cancelled c", "group failed"],
    _queue: ["a0", "a1", "b2", "a3"],
    _semaphore: ["in a", "in b", "out a", "in c", "out b", "in d", "out c", "out d"],
    _lock_and_event: ["a", "b", "c"],
    _as_completed: ["fast", "got fast", "slow", "got slow"],
    _timeouts: ["timeout", "wait_for", "in time", "in time"],
    _shield: ["outer gave up", "inner", "still inner"],
}


@pytest.mark.parametrize("program", GOLDENS, ids=lambda program: program.__name__)
def test_order_is_the_golden_one(program: Program) -> None:
    """Each of asyncio's ways to wait runs in one order, whatever the version of Python."""
    log: list[str] = []

    Rig().run(program(log))

    assert GOLDENS[program] == log


@pytest.mark.parametrize("program", GOLDENS, ids=lambda program: program.__name__)
def test_two_runs_give_the_same_timers(program: Program) -> None:
    """A second run of the same program starts and cancels the same timers in the same order."""
    first, second = Rig(), Rig()

    first.run(program([]))
    keep = [object() for _ in range(1000)]  # other addresses for the second run
    second.run(program([]))

    assert first.timers.log == second.timers.log
    assert keep


def test_sleep_is_a_durable_timer() -> None:
    """`asyncio.sleep` starts one timer of its delay and moves the clock to where it fires."""
    rig = Rig()

    async def program() -> float:
        await asyncio.sleep(2.5)  # virtual time
        return asyncio.get_running_loop().time()

    assert START_S + 2.5 == rig.run(program())
    assert ["start 1 2.5"] == rig.timers.log


def test_zero_delay_is_no_timer() -> None:
    """`sleep(0)` and `call_later(0)` only queue."""
    rig = Rig()
    log: list[str] = []

    async def program() -> None:
        asyncio.get_running_loop().call_later(0, log.append, "later")
        await asyncio.sleep(0)

    rig.run(program())

    assert ["later"] == log
    assert [] == rig.timers.log


def test_timeout_of_an_instant_is_a_round_delay() -> None:
    """The delay of `call_at` is free of the noise that subtracting two large doubles leaves."""
    rig = Rig()
    rig.loop.set_time(START_S + 0.123457)

    async def program() -> None:
        async with asyncio.timeout(0.3):
            await asyncio.sleep(0)

    rig.run(program())

    assert ["start 1 0.3", "cancel 1"] == rig.timers.log


def test_fired_timer_is_not_cancelled() -> None:
    """A cancel after the timer fired is no command, even before its callback ran."""
    rig = Rig()
    timer = rig.loop.call_later(1, lambda: None)
    rig.timers.fire_next()

    timer.cancel()

    assert ["start 1 1"] == rig.timers.log
    assert 1 == rig.loop.run_until_idle()


def test_cancelled_timer_is_cancelled_once() -> None:
    """Cancelling twice is one command."""
    rig = Rig()
    timer = rig.loop.call_later(1, lambda: None)

    timer.cancel()
    timer.cancel()

    assert ["start 1 1", "cancel 1"] == rig.timers.log


def test_sets_of_tasks_iterate_alike() -> None:
    """The order of a set of tasks does not depend on where they are in memory, nor on the origin of their hashes."""

    async def program() -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(0)) for _ in range(300)}
        return [task.get_name() for task in tasks]

    orders = [Rig(hash_origin=origin).run(program()) for origin in (0, 4096 * 12345)]

    assert orders[0] == orders[1]
    assert [f"Task-{n}" for n in range(2, 302)] == orders[0]


def test_outer_loop_is_restored() -> None:
    """A drive from a callback of another loop leaves that loop and its current task as they were."""
    rig = Rig()
    seen: list[object] = []

    async def outer() -> None:
        loop, task, hooks = asyncio.get_running_loop(), asyncio.current_task(), sys.get_asyncgen_hooks()
        rig.run(asyncio.sleep(1))  # virtual time
        seen.append(asyncio.get_running_loop() is loop)
        seen.append(asyncio.current_task() is task)
        seen.append(sys.get_asyncgen_hooks() == hooks)

    asyncio.run(outer())

    assert [True, True, True] == seen


def test_context_reaches_tasks() -> None:
    """A task runs in the context it was given."""
    rig = Rig()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outer")
    context = contextvars.copy_context()
    context.run(variable.set, "inner")

    async def program() -> str:
        return variable.get()

    task = rig.loop.create_task(program(), context=context)
    rig.loop.run_until_idle()

    assert "inner" == task.result()


def test_drive_within_a_drive_is_refused() -> None:
    """A workflow cannot drive its own loop, nor another's."""
    rig = Rig()

    async def program() -> None:
        rig.loop.run_until_idle()

    with pytest.raises(RuntimeError, match="from within"):
        rig.run(program())


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda loop: loop.run_in_executor(None, print), "activity"),
        (lambda loop: loop.create_connection(asyncio.Protocol, "localhost", 1), "activity"),
        (lambda loop: loop.add_signal_handler(1, print), "signal"),
        (lambda loop: loop.run_until_complete(None), "await"),
        (lambda loop: loop.set_task_factory(asyncio.Task), "made by"),
    ],
)
def test_outside_world_is_refused(call: Callable[[asyncio.AbstractEventLoop], object], remedy: str) -> None:
    """I/O, threads and signals raise an error that says what to do instead."""
    with pytest.raises(NondeterminismError, match=remedy):
        call(Rig().loop)


def test_to_thread_is_refused() -> None:
    """`asyncio.to_thread` ends at the executor."""
    with pytest.raises(NondeterminismError, match="run_in_executor"):
        Rig().run(asyncio.to_thread(print))


def test_call_from_another_thread_is_refused() -> None:
    """`call_soon_threadsafe` works from within the workflow only."""
    rig = Rig()

    with pytest.raises(NondeterminismError, match="signal or an update"):
        rig.loop.call_soon_threadsafe(print)


def test_endless_activation_names_its_cause() -> None:
    """A workflow that never rests is stopped, and the error says where it spins."""
    rig = Rig()

    async def spinning() -> None:
        while True:  # noqa: ASYNC110 - the subject
            await asyncio.sleep(0)

    _ = rig.loop.create_task(spinning())

    with pytest.raises(EndlessActivationError, match=r"1000 steps.*Task-1 .*spinning at .*test_loop"):
        rig.loop.run_until_idle(1000)
    rig.loop.close()


def test_failure_of_a_callback_is_reported() -> None:
    """A callback that raises does not end the drive."""
    rig = Rig()
    rig.loop.call_soon(lambda: 1 / 0)
    after: list[int] = []
    rig.loop.call_soon(after.append, 1)

    rig.loop.run_until_idle()

    assert [1] == after
    assert [ZeroDivisionError] == [type(report["exception"]) for report in rig.reports]


def test_unretrieved_failure_is_reported_when_asked_for() -> None:
    """A task that failed with nobody looking is told at the end of a workflow, and not at an eviction."""

    async def failing() -> None:
        raise ValueError

    finished, evicted = Rig(), Rig()
    _ = finished.begin(failing())
    _ = evicted.begin(failing())

    finished.loop.tear_down(report_unretrieved=True)
    evicted.loop.tear_down()
    gc.collect()

    assert [ValueError] == [type(report["exception"]) for report in finished.reports]
    assert [] == evicted.reports


def test_pending_task_outlives_garbage_collection() -> None:
    """A task that nothing refers to waits on: its end would come at another point on replay."""
    rig = Rig()
    ended: list[str] = []

    async def forgotten() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("collected")

    _ = rig.loop.create_task(forgotten())
    rig.loop.run_until_idle()
    gc.collect()

    assert [] == ended
    rig.loop.close()


def test_finished_tasks_are_swept() -> None:
    """A workflow of many short tasks does not keep them."""
    rig = Rig()

    async def program() -> None:
        for _ in range(1000):
            await asyncio.create_task(asyncio.sleep(0))

    rig.run(program())

    assert len(rig.loop._tasks) < 50


async def _blocked(ended: list[str], then: Callable[[], Awaitable[object]] | None = None) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        ended.append("cancelled")
    finally:
        ended.append("finally")
        if then is not None:
            await then()


def test_tear_down_ends_tasks_without_cancelling() -> None:
    """An eviction runs `finally:` once and no `except CancelledError:`, and leaves nothing to the collector."""
    rig = Rig()
    ended: list[str] = []
    _ = rig.begin(_blocked(ended))

    assert [] == rig.loop.tear_down()
    assert ["finally"] == ended

    gc.collect()
    assert ["finally"] == ended
    assert [] == rig.reports


def test_tear_down_schedules_nothing() -> None:
    """What a `finally:` block starts while its workflow is torn down goes nowhere."""
    rig = Rig()
    ended: list[str] = []

    async def later() -> None:
        asyncio.get_running_loop().call_later(5, ended.append, "timer")
        asyncio.get_running_loop().call_soon(ended.append, "soon")
        ended.append("awaits")
        await asyncio.sleep(3)  # virtual time
        ended.append("slept")

    _ = rig.begin(_blocked(ended, later))
    rig.loop.tear_down()

    assert ["finally", "awaits"] == ended
    assert [] == rig.timers.log


def test_tear_down_refuses_new_tasks() -> None:
    """A task created in a `finally:` block never runs."""
    rig = Rig()
    ended: list[str] = []

    async def create() -> None:
        try:
            _ = asyncio.create_task(_steps(ended, "new"))  # noqa: RUF006 - it is refused
        except RuntimeError:
            ended.append("refused")

    _ = rig.begin(_blocked(ended, create))
    rig.loop.tear_down()

    assert ["finally", "refused"] == ended


def test_tear_down_of_nested_groups() -> None:
    """Task groups suspend on their way out, and end all the same."""
    rig = Rig()
    ended: list[str] = []

    async def program() -> None:
        async with asyncio.TaskGroup() as outer:
            _ = outer.create_task(_blocked(ended))
            async with asyncio.TaskGroup() as inner:
                _ = inner.create_task(_blocked(ended))

    _ = rig.begin(program())

    assert [] == rig.loop.tear_down()
    assert ["finally", "finally"] == ended


def test_tear_down_uses_the_task_s_own_context() -> None:
    """A `finally:` block can reset the variables its task set, and asks for its task as ever."""
    rig = Rig()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[object] = []

    async def program() -> None:
        token = variable.set("mine")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            variable.reset(token)
            seen.append(asyncio.current_task())

    task = rig.begin(program())
    rig.loop.tear_down()

    assert [task] == seen


def test_tear_down_names_what_will_not_end() -> None:
    """A coroutine that swallows GeneratorExit for ever is named, and kept from the collector."""
    rig = Rig()
    is_over = False

    async def stubborn() -> None:
        swallowed: list[BaseException] = []
        while not is_over:
            try:
                await asyncio.get_running_loop().create_future()
            except BaseException as error:  # noqa: BLE001 - the fault this is about
                swallowed.append(error)

    _ = rig.begin(stubborn())

    (survivor,) = rig.loop.tear_down()
    assert "stubborn" in survivor
    is_over = True  # or the interpreter would never end: it closes what is left


async def _numbers(log: list[str]) -> AsyncIterator[int]:
    try:
        for number in range(3):
            yield number
            await asyncio.sleep(1)  # virtual time
    finally:
        log.append("generator closed")


def test_broken_out_generator_is_closed_on_its_own_loop() -> None:
    """Leaving an `async for` early closes the generator on the workflow's loop."""
    rig = Rig()
    log: list[str] = []

    async def program() -> None:
        async for _ in _numbers(log):
            break
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        log.append("body went on")

    rig.run(program())

    assert ["generator closed", "body went on"] == log


def test_generator_of_a_torn_down_workflow_runs_no_more() -> None:
    """A generator that was under way issues nothing once its workflow is gone."""
    rig = Rig()
    log: list[str] = []

    async def program() -> None:
        async for number in _numbers(log):
            seen = f"{number}"
            log.append(seen)

    _ = rig.begin(program())
    rig.loop.tear_down()
    log.append("gone")
    gc.collect()

    assert "gone" == log[-1]
    assert ["start 1 1"] == [entry for entry in rig.timers.log if entry.startswith("start")]
