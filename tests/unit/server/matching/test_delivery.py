"""Delivered is not received: sequences, acknowledgements, repeats, and connections that close."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from perdure_proto.errors import Code, ServiceError
from perdure_proto.tasks import (
    ActivityHeartbeat,
    ActivityTaskCompletion,
    CancelActivity,
    CompletionResult,
    PollRequest,
    RespondRequest,
    WorkflowTaskCompletion,
)
from tests.unit.server.matching.doubles import WORKER, activity_ref, bench, runs, settle, workflow_ref


async def test_an_unknown_session_must_say_who_it_is() -> None:
    """A request of a session that is not known here, without `worker`, is refused."""
    async with bench() as b:
        with pytest.raises(ServiceError) as refused:
            await b.matching.poll("ns", "q", PollRequest(session="s", sequence=1))
        assert Code.SESSION_UNKNOWN is refused.value.code


async def test_a_respond_of_an_unknown_session_is_refused() -> None:
    """A respond cannot introduce a session."""
    async with bench() as b:
        with pytest.raises(ServiceError) as refused:
            await b.matching.respond("ns", "q", RespondRequest(session="s", sequence=1, completions=()))
        assert Code.SESSION_UNKNOWN is refused.value.code


async def test_another_protocol_is_refused() -> None:
    """A worker of another protocol version is told so."""
    async with bench() as b:
        with pytest.raises(ServiceError) as refused:
            await b.poll("s", worker=msgspec.structs.replace(WORKER, protocol_version=99))
        assert Code.PROTOCOL_VERSION is refused.value.code


async def test_a_session_stays_with_its_queue() -> None:
    """One session id cannot poll two task queues."""
    async with bench() as b:
        await b.poll("s")
        with pytest.raises(ServiceError) as refused:
            await b.matching.poll("ns", "other", b.request("s"))
        assert Code.INVALID_ARGUMENT is refused.value.code


async def test_a_lost_answer_is_given_again_and_not_received() -> None:
    """A repeated poll gets the same tasks, and nothing is received until they are acknowledged."""
    async with bench() as b:
        b.offer(workflow_ref("r"))
        request = b.request("s", 1, wait=timedelta(0))
        first = await b.matching.poll("ns", "q", request)
        again = await b.matching.poll("ns", "q", request)
        assert first == again
        assert ["r"] == runs(again)
        assert ["r"] == b.source.taken
        assert [] == b.told("received")


async def test_acknowledged_is_received_first() -> None:
    """The tasks of an acknowledged answer are received before the request is looked at."""
    async with bench() as b:
        b.offer(workflow_ref("r"), activity_ref("a"))
        answer = await b.poll("s", 1, 1)
        await b.poll("s", acknowledged=(answer.sequence,))
        assert [("s", ["r"]), ("s", ["a"])] == b.told("received")


async def test_an_acknowledged_sequence_is_over() -> None:
    """A late duplicate of an acknowledged request is refused, for nobody waits for its answer."""
    async with bench() as b:
        request = b.request("s", 1, wait=timedelta(0))
        await b.matching.poll("ns", "q", request)
        await b.poll("s", acknowledged=(request.sequence,))
        b.offer(workflow_ref("r"))
        with pytest.raises(ServiceError) as refused:
            await b.matching.poll("ns", "q", request)
        assert Code.INVALID_ARGUMENT is refused.value.code
        assert [] == b.source.taken


async def test_a_repeat_in_flight_joins() -> None:
    """Two requests of one sequence wait together and get one answer."""
    async with bench() as b:
        request = b.request("s", 1)
        first, second = await b.park(request), await b.park(request)
        b.offer(workflow_ref("r"))
        assert (await first) is (await second)
        assert ["r"] == b.source.taken


async def test_a_closed_connection_leaves_the_task_to_others() -> None:
    """What was assigned to a poll whose connection closes before it was handed out goes to the next worker."""
    async with bench() as b:
        poll = await b.park(b.request("s", 1))
        b.offer(workflow_ref("r"))
        poll.cancel()
        await settle()
        assert [] == b.source.taken
        assert ["r"] == runs(await b.poll("t", 1))


async def test_a_closed_connection_forgets_a_parked_poll() -> None:
    """A parked poll whose connection closed takes no tasks, and its repeat waits anew."""
    async with bench() as b:
        request = b.request("s", 1)
        poll = await b.park(request)
        poll.cancel()
        await settle()
        b.offer(workflow_ref("r"))
        assert ["r"] == runs(await (await b.park(request)))


async def test_one_of_two_connections_may_close() -> None:
    """A poll lives as long as one connection waits for it."""
    async with bench() as b:
        request = b.request("s", 1)
        first, second = await b.park(request), await b.park(request)
        first.cancel()
        await settle()
        b.offer(workflow_ref("r"))
        assert ["r"] == runs(await second)


async def test_what_is_taken_when_the_connection_closes_is_kept() -> None:
    """A task that the engine has handed out stays in the answer for a repeat; the others go back."""
    async with bench() as b:
        b.source.hold["r1"] = asyncio.Event()
        b.offer(*[workflow_ref(f"r{i}") for i in range(3)])
        request = b.request("s", 3)
        poll = await b.park(request)
        poll.cancel()
        await settle()
        b.source.hold["r1"].set()
        await settle()
        assert ["r0", "r1"] == runs(await b.matching.poll("ns", "q", request))
        assert ["r2"] == runs(await b.poll("t", 3))


async def test_an_answer_is_kept_when_the_connection_closes_at_the_last_moment() -> None:
    """An answer that nobody read is given to the repeat."""
    async with bench() as b:
        request = b.request("s", 1)
        poll = await b.park(request)
        b.offer(workflow_ref("r"))
        await b.source.took.wait()
        poll.cancel()
        await settle()
        assert ["r"] == runs(await b.matching.poll("ns", "q", request))


def done(session: str, *tokens: str, sequence: int, slots: int = 0) -> RespondRequest:
    """A respond that completes workflow tasks and has slots for activities, and as many for workflow tasks."""
    completions = tuple(WorkflowTaskCompletion(token=token) for token in tokens)
    return RespondRequest(
        session=session, sequence=sequence, completions=completions, workflow_slots=slots, activity_slots=slots
    )


async def test_a_respond_brings_what_it_made_due() -> None:
    """What a completion makes due comes back in its own answer, before a poll that was parked longer."""
    async with bench() as b:
        await b.poll("s")
        poll = await b.park(b.request("t", 9, 9))
        b.source.due = [activity_ref("a"), workflow_ref("r")]
        answer = await (await b.respond(done("s", "t1", sequence=50, slots=1)))
        assert (CompletionResult(),) == answer.results
        assert {"a", "r"} == set(runs(answer))
        assert not poll.done()


async def test_a_respond_brings_what_waits() -> None:
    """Free slots of a respond are filled from the queue after its completions have committed."""
    async with bench() as b:
        await b.poll("s")
        b.offer(activity_ref("a1"), activity_ref("a2"))
        answer = await (await b.respond(done("s", "t1", sequence=50, slots=1)))
        assert ["a1"] == runs(answer)


async def test_what_a_respond_cannot_take_goes_to_parked_polls() -> None:
    """Beyond its slots, and of types it does not know, tasks go to others."""
    async with bench() as b:
        await b.poll("s")
        poll = await b.park(b.request("t", 9, 9))
        b.source.due = [activity_ref("a1"), activity_ref("a2")]
        answer = await (await b.respond(done("s", "t1", sequence=50, slots=1)))
        assert ["a1"] == runs(answer)
        assert ["a2"] == runs(await poll)


async def test_a_repeated_respond_gets_the_same_tasks() -> None:
    """The repeat of a respond whose answer was lost completes nothing again and brings the same tasks."""
    async with bench() as b:
        await b.poll("s")
        b.source.due = [activity_ref("a")]
        request = done("s", "t1", sequence=50, slots=1)
        first = await (await b.respond(request))
        again = await (await b.respond(request))
        assert first == again
        assert ["a"] == runs(again)
        assert ["t1"] == b.source.completed


async def test_completions_go_on_when_the_connection_closes() -> None:
    """A respond whose connection closed commits, keeps its results for the repeat, and takes no tasks."""
    async with bench() as b:
        await b.poll("s")
        b.source.commit.clear()
        b.source.due = [activity_ref("a")]
        request = done("s", "t1", sequence=50, slots=1)
        (await b.respond(request)).cancel()
        await settle()
        b.source.commit.set()
        await settle()
        assert ["t1"] == b.source.completed
        answer = await (await b.respond(request))
        assert ((CompletionResult(),), []) == (answer.results, runs(answer))
        assert ["a"] == runs(await b.poll("t", activity=1))


async def test_a_repeated_respond_joins_the_commit() -> None:
    """A repeat that comes while completions commit waits for the same commit."""
    async with bench() as b:
        await b.poll("s")
        b.source.commit.clear()
        request = done("s", "t1", sequence=50)
        first, second = await b.respond(request), await b.respond(request)
        b.source.commit.set()
        assert (await first) == (await second)
        assert ["t1"] == b.source.completed


async def test_a_failed_respond_may_be_repeated() -> None:
    """A refused batch of completions is not remembered, and what was assigned meanwhile goes to others."""
    async with bench() as b:
        await b.poll("s")
        b.source.commit.clear()
        b.source.results = ServiceError(Code.UNAVAILABLE, "no database")
        request = done("s", "t1", sequence=50, slots=1)
        respond = await b.respond(request)
        b.offer(activity_ref("a"))
        b.source.commit.set()
        with pytest.raises(ServiceError) as refused:
            await respond
        assert Code.UNAVAILABLE is refused.value.code
        b.source.results = None
        assert ["a"] == runs(await b.poll("t", activity=1))
        assert (CompletionResult(),) == (await (await b.respond(request))).results


async def test_an_error_of_the_server_is_told_as_such() -> None:
    """An unexpected error of a batch reaches the worker as an internal one."""
    async with bench() as b:
        await b.poll("s")
        b.source.results = RuntimeError("bug")
        with pytest.raises(ServiceError) as refused:
            await (await b.respond(done("s", "t1", sequence=50)))
        assert Code.INTERNAL is refused.value.code


async def test_a_push_goes_out_at_once() -> None:
    """A push answers the parked poll that has the fewest slots, and the others stay."""
    async with bench() as b:
        worker, ear = await b.park(b.request("s", 5)), await b.park(b.request("s"))
        push = CancelActivity(token="t")
        assert b.matching.push("s", push)
        assert (push,) == (await ear).pushes
        assert not worker.done()


async def test_a_push_waits_for_the_next_answer() -> None:
    """Without a parked poll a push comes with the next answer, also that of a respond."""
    async with bench() as b:
        await b.poll("s")
        push = CancelActivity(token="t")
        assert b.matching.push("s", push)
        answer = await (await b.respond(done("s", sequence=50)))
        assert (push,) == answer.pushes
        assert () == (await b.poll("s")).pushes


async def test_a_push_to_nobody() -> None:
    """A push to a session that is not here is not taken."""
    async with bench() as b:
        assert not b.matching.push("nobody", CancelActivity(token="t"))


async def test_a_wait_ends_empty() -> None:
    """A poll is answered with nothing when its wait is over."""
    async with bench() as b:
        poll = await b.park(b.request("s", 1, wait=timedelta(seconds=30)))
        b.pass_time(29)
        await settle()
        assert not poll.done()
        b.pass_time(1.1)
        assert [] == runs(await poll)


async def test_completed_tasks_are_held_no_more() -> None:
    """A lost session fails what it holds: not what it completed, but what it only heartbeats."""
    async with bench() as b:
        b.offer(*[activity_ref(f"a{i}") for i in range(3)])
        answer = await b.poll("s", activity=3)
        b.source.results = [CompletionResult(), CompletionResult(), CompletionResult(code=Code.UNAVAILABLE)]
        request = RespondRequest(
            session="s",
            sequence=50,
            acknowledged=(answer.sequence,),
            completions=(
                ActivityTaskCompletion(token="a0"),
                ActivityHeartbeat(token="a1"),
                ActivityTaskCompletion(token="a2"),
            ),
        )
        await (await b.respond(request))
        b.pass_time(1.2)
        b.pass_time(10)
        assert [("s", ["a1", "a2"])] == b.told("lost")
