"""The table of what clients do: each starts something, talks to it as its users would, and knows what must come out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from types import MappingProxyType

from perdure.client import WorkflowHandle
from perdure.exceptions import ApplicationError, CancelledError, RPCError, TerminatedError, WorkflowFailureError
from perdure_proto.errors import Code
from perdure_proto.events import CLOSING_EVENTS, AnyEvent
from tests.faults.caller import Caller, WrongError, expect
from tests.programs import under_faults as program

COUNT = 20
PAUSE_SECONDS = 0.1


async def works(caller: Caller) -> None:
    """Activities: async, in a thread, with retries, with heartbeats."""
    await caller.start(program.works, 3)
    expect([0, 0, 0, 0, 2, 3, 1, 1, 4, 6, 2, 2], await caller.result(), "results of activities")


async def steps(caller: Caller) -> None:
    """Local activities, timers between them."""
    await caller.start(program.steps, 4)
    expect([0, 2, 4, 6], await caller.result(), "results of local activities")


async def naps(caller: Caller) -> None:
    """Timers, seen from the workflow's clock."""
    await caller.start(program.naps, 5)
    if (slept := await caller.result()) < 1.1:
        raise WrongError(f"timers of 1.1 s took {slept} s")


async def collects(caller: Caller) -> None:
    """Signals of one caller, in order, over several runs. One without an answer is in its place or nowhere."""
    await caller.start(program.collects, [], -1)
    sent: list[tuple[int, bool]] = []
    for value in range(COUNT):
        # The handle is looked up late: each signal may go over another server.
        answer = await caller.once("signal", lambda value=value: caller.handle().signal(program.number, value))  # type: ignore[misc]  # mypy does not infer a default
        sent.append((value, answer.known))
    await caller.end(program.number, program.END)
    got = await caller.result()
    missing = [value for value, known in sent if known and value not in got]
    expect([], missing, f"acknowledged signals that are missing in {got}")
    expect([value for value, _ in sent if value in got], got, "signals in order and once")


async def relays(caller: Caller) -> None:
    """Signals from workflow to workflow, in order and once."""
    target = f"{caller.id}-target"
    await caller.start(program.collects, [], COUNT, id=target)
    await caller.start(program.relays, target, COUNT)
    expect(list(range(COUNT)), await caller.result(target), "signals from a workflow")
    expect(target, await caller.result(), "the relay's result")


async def sums(caller: Caller) -> None:
    """Updates that work, over several runs: each is repeated with its id until its answer is known."""
    await caller.start(program.sums, program.Ledger())
    for value in range(COUNT):
        found = await caller.update(program.deposit, value, id=f"deposit-{value}")
        expect(2 * value, found, "an update's answer")
    await caller.end(program.enough)
    expect(list(range(COUNT)), await caller.result(), "updates in order and once")
    try:
        expect(0, await caller.update(program.deposit, 0, id="deposit-0"), "an update's answer, asked for later")
    except RPCError as error:
        # Update ids of earlier runs are carried for some minutes only where the run still takes messages.
        expect(Code.WORKFLOW_CLOSED, error.code, "a repeat after the end")


async def brings_up(caller: Caller) -> None:
    """Children, and one that is cancelled."""
    await caller.start(program.brings_up, 4)
    expect(12, await caller.result(), "sum of the children")


async def cleans_up(caller: Caller) -> None:
    """A cancellation, delivered once."""
    await caller.start(program.cleans_up, caller.id)
    await asyncio.sleep(PAUSE_SECONDS)
    await caller.patiently("cancel", lambda: _cancel(caller.handle()))
    try:
        expect(f"cleaned {caller.id}", await caller.result(), "what was cleaned up")
    except WorkflowFailureError as error:
        # Before its first step there is nothing that could clean up.
        if not isinstance(error.cause, CancelledError):
            raise


async def _cancel(handle: WorkflowHandle[object]) -> None:
    """A repeat may find that the first has ended it."""
    try:
        await handle.cancel()
    except RPCError as error:
        if error.code != Code.WORKFLOW_CLOSED:
            raise


async def goes_on(caller: Caller) -> None:
    """Continue-as-new."""
    await caller.start(program.goes_on, 4, 0)
    expect(20, await caller.result(), "the sum over all runs")


async def pays(caller: Caller) -> None:
    """A transaction of the user."""
    await caller.start(program.pays, caller.id)
    expect(caller.id, await caller.result(), "what was paid")


async def is_refused(caller: Caller) -> None:
    """A failure that is not tried again."""
    await caller.start(program.is_refused, 7)
    try:
        await caller.result()
    except WorkflowFailureError as error:
        if isinstance(error.cause, ApplicationError) and error.cause.type == "Refused":
            return
        raise
    raise WrongError("a workflow that must fail did not")


async def is_ended(caller: Caller) -> None:
    """A termination."""
    await caller.start(program.sleeper)
    try:
        await caller.patiently("terminate", lambda: caller.handle().terminate())
    except RPCError as error:
        if error.code != Code.WORKFLOW_CLOSED:
            raise
    try:
        await caller.result()
    except WorkflowFailureError as error:
        if isinstance(error.cause, TerminatedError):
            return
        raise
    raise WrongError("a workflow that was terminated has a result")


async def asks(caller: Caller) -> None:
    """An activity that is completed from elsewhere."""
    await caller.start(program.asks, "why?")
    while not await caller.patiently("complete", lambda: _answer(caller)):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(PAUSE_SECONDS)
    expect("because", await caller.result(), "the answer")


async def _answer(caller: Caller) -> bool:
    """Whether there is nothing more to answer: it was done now, or by a call whose answer was lost."""
    handle = caller.client.get_async_activity_handle(workflow_id=caller.id, activity_id="question")
    try:
        await handle.complete("because")
    except RPCError as error:
        if error.code not in {Code.ACTIVITY_NOT_FOUND, Code.WORKFLOW_CLOSED, Code.TASK_NOT_FOUND}:
            raise
        return (await caller.handle().describe()).status != "RUNNING"
    return True


async def stands_alone(caller: Caller) -> None:
    """An activity without a workflow."""
    await caller.patiently("start", lambda: _start_alone(caller))
    found = await caller.patiently("result", lambda: caller.client.get_activity_handle(caller.id).result())
    expect(42, found, "the result of a standalone activity")


async def _start_alone(caller: Caller) -> None:
    await caller.client.start_activity(program.double, 21, id=caller.id, request_id=f"start-{caller.id}")


async def is_followed(caller: Caller) -> None:
    """A history that is read while it grows: no event is seen that is another later."""
    await caller.start(program.steps, 4)
    seen: list[list[AnyEvent]] = []

    async def follow() -> None:
        seen.append([])
        async for event in caller.handle().events(follow=True):
            seen[-1].append(event)

    await caller.patiently("follow", follow)
    final = seen[-1]
    expect(list(range(1, len(final) + 1)), [event.event_id for event in final], "ids of followed events")
    if not isinstance(final[-1], CLOSING_EVENTS):
        raise WrongError(f"a followed history ends with {final[-1].event_type}")
    for events in seen:
        expect(final[: len(events)], events, "events that were seen before")
    if any(after.event_time < before.event_time for before, after in pairwise(final)):
        raise WrongError("event times go back")


Program = Callable[[Caller], Awaitable[None]]

PROGRAMS = MappingProxyType(
    {
        one.__name__: one
        for one in (
            works,
            steps,
            naps,
            collects,
            relays,
            sums,
            brings_up,
            cleans_up,
            goes_on,
            pays,
            is_refused,
            is_ended,
            asks,
            stands_alone,
            is_followed,
        )
    }
)
