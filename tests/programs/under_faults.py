"""What workers run while everything fails around them: one workflow for each thing that the service promises, each with
a result that its caller can tell beforehand. Retries have no end, so that no fault is long enough to change a result.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ActivityError, ApplicationError
from perdure_proto.options import RetryPolicy

SOON = timedelta(seconds=10)
AGAIN = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_interval=timedelta(seconds=1))
WORK_SECONDS = 0.03
A_RUN = 15
"""Messages that a run takes before it goes on as new."""
END = -1
TABLE = "create table if not exists payments (order_id text not null, attempt int not null)"

number = workflow.Signal[int]("number")
enough = workflow.Signal[None]("enough")
deposit = workflow.Update[[int], int]("deposit")
read = workflow.Update[[], int]("read")
write = workflow.Update[[int], None]("write")
cas = workflow.Update[[int, int], int]("cas")
value_now = workflow.Query[[], int]("value_now")
add = workflow.Update[[int], int]("add")
elements_now = workflow.Query[[], list[int]]("elements_now")


@activity.defn(start_to_close_timeout=SOON, retry_policy=AGAIN)
async def double(value: int) -> int:
    await asyncio.sleep(WORK_SECONDS)
    return 2 * value


@activity.defn(start_to_close_timeout=SOON, retry_policy=AGAIN)
def treble(value: int) -> int:
    time.sleep(WORK_SECONDS)
    return 3 * value


@activity.defn(start_to_close_timeout=SOON, retry_policy=AGAIN)
async def third_time(value: int) -> int:
    if activity.info().attempt < 3:
        raise RuntimeError("not yet")
    return value


@activity.defn(start_to_close_timeout=SOON, retry_policy=AGAIN)
async def refuse(value: int) -> None:
    raise ApplicationError("no", value, type="Refused", non_retryable=True)


@activity.defn(start_to_close_timeout=timedelta(seconds=60), heartbeat_timeout=timedelta(seconds=4), retry_policy=AGAIN)
async def beat(steps: int) -> int:
    """Goes on where the last attempt stood, as far as that was told."""
    for step in range(next(iter(activity.info().heartbeat_details), 0), steps):
        activity.heartbeat(step + 1)
        await asyncio.sleep(WORK_SECONDS)
    return steps


@activity.defn(start_to_close_timeout=SOON, retry_policy=AGAIN)
async def pay(order: str) -> str:
    async with activity.transaction() as conn:
        await conn.execute("insert into payments values ($1, $2)", order, activity.info().attempt)
    return order


@activity.defn(start_to_close_timeout=timedelta(minutes=10), retry_policy=AGAIN)
async def ask(question: str) -> str:
    activity.raise_complete_async()


@workflow.defn
async def works(rounds: int) -> list[int]:
    """Activities of every kind, several at a time."""
    done: list[int] = []
    for value in range(rounds):
        done += await asyncio.gather(double(value), treble(value), third_time(value), beat(value))
    return done


@workflow.defn
async def steps(count: int) -> list[int]:
    """Local activities and timers."""
    done = []
    for value in range(count):
        done.append(await double.local(value))
        await asyncio.sleep(0.05)
    return done


@workflow.defn
async def naps(count: int) -> float:
    """Many timers at once, and one that loses a race."""
    begun = workflow.time()
    await asyncio.gather(*[asyncio.sleep(0.2 * n) for n in range(1, count + 1)])
    try:
        async with asyncio.timeout(0.1):
            await asyncio.sleep(3600)
    except TimeoutError:
        return workflow.time() - begun
    raise AssertionError("the long sleep won")


@workflow.defn  # noqa: RET503 - a run that goes on as new never returns
async def collects(got: list[int], needed: int) -> list[int]:
    """Signals in order, over many runs, until it has so many, or END comes."""
    inbox = number.channel()
    for _ in range(A_RUN):
        value = await inbox.receive()
        if value == END:
            return got
        got.append(value)
        if len(got) == needed:
            return got
    workflow.continue_as_new(got, needed)


@workflow.defn
async def relays(target: str, count: int) -> str:
    """Signals another workflow, in order, all on their way at once."""
    other = workflow.external(target)
    await asyncio.gather(*[other.signal(number, n) for n in range(count)])
    return target


@dataclass
class Ledger:
    """What goes on from run to run."""

    deposits: list[int] = field(default_factory=list)


@workflow.defn
async def sums(state: Ledger) -> list[int]:
    """Updates that do some work, over many runs, until it is told that it is enough."""
    done, taken = False, 0

    @deposit.handler
    async def _(value: int) -> int:
        nonlocal taken
        taken += 1
        doubled = await double(value)
        state.deposits.append(value)
        return doubled

    @deposit.validator
    def _(value: int) -> None:
        if value < 0:
            raise ValueError("less than nothing")

    @enough.handler
    def _() -> None:
        nonlocal done
        done = True

    await workflow.wait_condition(lambda: done or taken >= A_RUN)
    await workflow.wait_condition(workflow.all_handlers_finished)
    if not done:
        workflow.continue_as_new(state)
    return state.deposits


@workflow.defn
async def leaf(value: int) -> int:
    await asyncio.sleep(0.05)
    return await double(value)


@workflow.defn
async def sleeper() -> None:
    await asyncio.sleep(3600)


@workflow.defn
async def brings_up(count: int) -> int:
    """Children, one of which is cancelled."""
    idle = await sleeper.start()
    grown = await asyncio.gather(*[leaf(value) for value in range(count)])
    idle.cancel()
    try:
        await idle
    except asyncio.CancelledError:
        return sum(grown)
    raise AssertionError("the child was not cancelled")


@workflow.defn
async def cleans_up(order: str) -> str:
    """Waits until it is cancelled, and pays all the same."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        return f"cleaned {await pay(order)}"
    raise AssertionError("nobody cancelled it")


@workflow.defn
async def goes_on(runs: int, sofar: int) -> int:
    """As new, again and again."""
    sofar += await double(runs)
    await asyncio.sleep(0.02)
    if runs:
        workflow.continue_as_new(runs - 1, sofar)
    return sofar


@workflow.defn
async def pays(order: str) -> str:
    """A transaction of the user, and the completion in it."""
    return await pay(order)


@workflow.defn
async def is_refused(value: int) -> None:
    """Fails, as its activity does."""
    try:
        await refuse(value)
    except ActivityError as error:
        raise ApplicationError("refused", type="Refused") from error


@workflow.defn
async def asks(question: str) -> str:
    """Waits for an answer that comes from elsewhere."""
    return await ask.with_options(activity_id="question")(question)


@dataclass
class Cell:
    """A register between two runs."""

    value: int = 0


@workflow.defn
async def register(cell: Cell) -> int:
    """One value, written, compared and read by updates and by a query, until it is told that it is enough."""
    done, taken = False, 0

    @value_now.handler
    def _() -> int:
        return cell.value

    @read.handler
    def _() -> int:
        nonlocal taken
        taken += 1
        return cell.value

    @write.handler
    def _(value: int) -> None:
        nonlocal taken
        taken += 1
        cell.value = value

    @cas.handler
    def _(expected: int, value: int) -> int:
        nonlocal taken
        taken += 1
        found = cell.value
        if found == expected:
            cell.value = value
        return found

    @enough.handler
    def _() -> None:
        nonlocal done
        done = True

    await workflow.wait_condition(lambda: done or taken >= A_RUN)
    if not done:
        workflow.continue_as_new(cell)
    return cell.value


@workflow.defn
async def collection(elements: list[int]) -> list[int]:
    """Values added by signals and by updates, looked at by a query, until it is told that it is enough."""
    done, taken = False, 0

    @elements_now.handler
    def _() -> list[int]:
        return elements

    @number.handler
    def _(value: int) -> None:
        nonlocal taken
        taken += 1
        elements.append(value)

    @add.handler
    def _(value: int) -> int:
        nonlocal taken
        taken += 1
        elements.append(value)
        return len(elements)

    @enough.handler
    def _() -> None:
        nonlocal done
        done = True

    await workflow.wait_condition(lambda: done or taken >= A_RUN)
    if not done:
        workflow.continue_as_new(elements)
    return elements


WORKFLOWS: list[workflow.Workflow[..., Any]] = [
    works,
    steps,
    naps,
    collects,
    relays,
    sums,
    leaf,
    sleeper,
    brings_up,
    cleans_up,
    goes_on,
    pays,
    is_refused,
    asks,
    register,
    collection,
]
