"""Polls and responds: numbering, acknowledgement, batching and repetition."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest

from perdure.exceptions import RPCError
from perdure_proto.errors import Code, ServiceError
from perdure_proto.tasks import ActivityTaskCompletion, ActivityTaskFailure, CompletionResult, PollAnswer, WorkerInfo
from perdure_worker.exchange import ASKED_PAUSE_MAX, PAUSE_FIRST, Exchange
from perdure_worker.poller import Poller
from perdure_worker.session import Session
from perdure_worker.shares import Shares
from perdure_worker.slots import Offer, Slots
from tests.unit.worker.wired import activity_task, wired

UNKNOWN = ServiceError(Code.SESSION_UNKNOWN, "who?")


def done(number: int) -> ActivityTaskCompletion:
    return ActivityTaskCompletion(token=f"t{number}")


async def test_first_poll_introduces_the_worker_and_does_not_wait() -> None:
    """A worker says who it is first, and asks for no wait, so that the answer confirms it."""
    async with wired() as parts:
        first = (await parts.service.polls.get()).request
        assert WorkerInfo(identity="test") == first.worker
        assert first.wait.total_seconds() == 0


async def test_answer_is_acknowledged_by_the_next_poll() -> None:
    """What an answer brought is acknowledged by the poll that follows it at once."""
    async with wired() as parts:
        await parts.introduce()
        poll = await parts.service.polls.get()
        assert (1,) == poll.request.acknowledged
        poll.answer(activity_task("a"))
        assert (2,) == (await parts.service.polls.get()).request.acknowledged


async def test_requests_share_the_free_slots() -> None:
    """A poll asks for half of what is free, so that a respond finds slots too, and they are asked for once."""
    async with wired() as parts:
        parts.slots.take_activity()
        parts.slots.take_activity()
        await parts.introduce()
        poll = (await parts.service.polls.get()).request
        assert (5, 4) == (poll.workflow_slots, poll.activity_slots)
        parts.responder.submit(done(1))
        respond = (await parts.service.responds.get()).request
        assert (3, 2) == (respond.workflow_slots, respond.activity_slots)


async def test_freed_kind_opens_a_second_poll() -> None:
    """When the open poll asks for no activities and a slot becomes free, another poll asks for it."""
    async with wired() as parts:
        for _ in range(10):
            parts.slots.take_activity()
        await parts.introduce()
        assert (await parts.service.polls.get()).request.activity_slots == 0
        parts.slots.give_activity()
        assert (await parts.service.polls.get()).request.activity_slots == 1


async def test_a_poll_put_away_in_its_last_turn_gives_its_slots_back() -> None:
    """The poller may look at its polls between the end of one and the callback that tells of it."""
    ended: asyncio.Future[PollAnswer] = asyncio.get_running_loop().create_future()

    class Once:
        async def ask(self, *_: Any, **__: Any) -> PollAnswer:
            return await ended if not ended.done() else await asyncio.get_running_loop().create_future()

    slots = Slots(10, 10)
    session = Session(lambda: WorkerInfo(identity="test"))
    poller = Poller(session, cast("Exchange", Once()), Shares(slots).join(), queue_path="/q", take=lambda _: None)
    polling = asyncio.create_task(poller.run())
    await turns()
    ended.set_result(PollAnswer(sequence=1))
    poller._changed.set()
    await turns()
    polling.cancel()
    await turns()
    assert Offer(10, 10) == slots.unasked


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_closed_slots_leave_a_poll_for_pushes() -> None:
    """A worker that stops keeps a poll open that asks for no tasks."""
    async with wired() as parts:
        await parts.introduce()
        await parts.service.polls.get()
        parts.slots.close()
        poll = (await parts.service.polls.get()).request
        assert (0, 0) == (poll.workflow_slots, poll.activity_slots)


async def test_poll_is_repeated_with_the_same_sequence_after_a_cut() -> None:
    """A poll whose connection died is sent again as it was."""
    async with wired() as parts:
        await parts.introduce()
        first = await parts.service.polls.get()
        first.cut()
        assert first.request == (await parts.service.polls.get()).request


async def test_respond_is_repeated_with_the_same_sequence_after_a_cut() -> None:
    """A respond whose answer was lost is sent again as it was."""
    async with wired() as parts:
        await parts.introduce()
        parts.responder.submit(done(1))
        first = await parts.service.responds.get()
        first.cut()
        second = await parts.service.responds.get()
        assert first.request == second.request


async def test_fault_of_the_service_is_repeated() -> None:
    """An answer with a 5xx status is no answer."""
    async with wired() as parts:
        await parts.introduce()
        parts.responder.submit(done(1))
        first = await parts.service.responds.get()
        first.refuse(ServiceError(Code.INTERNAL, "broken"))
        assert first.request == (await parts.service.responds.get()).request


@pytest.mark.parametrize(("asked", "least"), [(2, 2.0), (10_000, ASKED_PAUSE_MAX)])
async def test_a_worker_waits_as_long_as_it_is_asked(asked: float, least: float) -> None:
    """A refusal that says when to come back is kept to, up to a bound: a worker has no other."""
    pauses: list[float] = []

    class Busy:
        async def send(self, *_: object) -> bytes:
            if pauses:
                return b'{"sequence":1}'
            raise RPCError("full", code=Code.RESOURCE_EXHAUSTED, details={"retry_after": asked})

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    exchange = Exchange(Busy(), pause=pause)
    await exchange.read("/x", msgspec.json.Decoder(PollAnswer), patience=1.0)
    (seconds,) = pauses
    assert least <= seconds <= 1.5 * least + PAUSE_FIRST


async def test_completions_of_one_turn_travel_together() -> None:
    """What is handed in before the loop turns is one batch."""
    async with wired() as parts:
        await parts.introduce()
        for number in range(3):
            parts.responder.submit(done(number))
        batch = (await parts.service.responds.get()).request.completions
        assert (done(0), done(1), done(2)) == batch


async def test_completions_gather_while_responds_are_in_flight() -> None:
    """With as many responds in flight as may be, what comes waits for one batch."""
    async with wired() as parts:
        await parts.introduce()
        in_flight = []
        for number in range(2):
            parts.responder.submit(done(number))
            in_flight.append(await parts.service.responds.get())
        for number in range(2, 6):
            parts.responder.submit(done(number))
            await asyncio.sleep(0)
        in_flight[0].answer()
        batch = (await parts.service.responds.get()).request.completions
        assert tuple(done(number) for number in range(2, 6)) == batch


async def test_tasks_of_a_respond_are_taken_and_acknowledged_soon() -> None:
    """An answer that brings tasks is acknowledged by an empty respond when nothing else carries it."""
    async with wired() as parts:
        await parts.introduce()
        parts.responder.submit(done(1))
        first = await parts.service.responds.get()
        first.answer(activity_task("next"))
        assert "next" == (await parts.taken.get()).tasks[0].token
        second = (await parts.service.responds.get()).request
        assert (first.request.sequence,) == second.acknowledged
        assert () == second.completions


async def test_result_reaches_whoever_handed_in_the_completion() -> None:
    """Each completion's own result comes back to it."""
    async with wired() as parts:
        await parts.introduce()
        results: list[CompletionResult] = []
        parts.responder.submit(done(1), results.append)
        parts.responder.submit(done(2), results.append)
        gone = CompletionResult(code=Code.TASK_NOT_FOUND)
        (await parts.service.responds.get()).results(CompletionResult(), gone)
        await parts.responder.flushed()
        assert [CompletionResult(), gone] == results


async def test_unknown_session_introduces_itself_and_repeats_the_respond() -> None:
    """After SESSION_UNKNOWN the next poll says what the worker holds, and then the respond is repeated."""
    async with wired() as parts:
        await parts.introduce()
        await parts.service.polls.get()
        parts.held = ("t1",)
        parts.responder.submit(done(1))
        refused = await parts.service.responds.get()
        refused.refuse(UNKNOWN)
        again = await parts.service.polls.get()
        assert WorkerInfo(identity="test", held=("t1",)) == again.request.worker
        assert parts.service.responds.empty()
        again.answer()
        repeated = await parts.service.responds.get()
        assert refused.request == repeated.request


async def test_unknown_session_of_a_poll_introduces_the_worker_once() -> None:
    """A service that restarted tells the poll; the next one is an introduction."""
    async with wired() as parts:
        await parts.introduce()
        (await parts.service.polls.get()).refuse(UNKNOWN)
        again = await parts.service.polls.get()
        assert again.request.worker is not None
        again.answer()
        assert (await parts.service.polls.get()).request.worker is None


async def test_completions_wait_for_the_introduction() -> None:
    """Nothing is responded before the service knows the worker."""
    async with wired() as parts:
        introduction = await parts.service.polls.get()
        parts.responder.submit(done(1))
        await asyncio.sleep(0)
        assert parts.service.responds.empty()
        introduction.answer()
        assert (done(1),) == (await parts.service.responds.get()).request.completions


async def test_refused_batch_is_sent_in_halves_and_the_guilty_one_fails() -> None:
    """The completion that the service cannot take is found, and its task fails instead."""
    too_large = ServiceError(Code.BODY_TOO_LARGE, "too large")
    async with wired() as parts:
        await parts.introduce()
        parts.responder.submit(done(1))
        parts.responder.submit(done(2))
        (await parts.service.responds.get()).refuse(too_large)
        halves = [await parts.service.responds.get() for _ in range(2)]
        assert [(done(1),), (done(2),)] == [half.request.completions for half in halves]
        halves[0].refuse(too_large)
        halves[1].answer()
        instead = (await parts.service.responds.get()).request.completions[0]
        assert isinstance(instead, ActivityTaskFailure)
        assert ("t1", "too large") == (instead.token, instead.failure.message)


async def test_final_refusal_of_a_poll_ends_the_poller() -> None:
    """A refusal that repeating does not mend is raised."""
    async with wired() as parts:
        poll = await parts.service.polls.get()
        poll.refuse(ServiceError(Code.NAMESPACE_NOT_FOUND, "no such namespace"))
        with pytest.raises(RPCError, match="no such namespace"):
            await parts.polling
