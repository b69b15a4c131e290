"""Sticky lanes, sessions that fall silent or leave, and the end of the server."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec

from perdure_proto.tasks import CancelActivity, LeaveRequest, RespondRequest
from tests.unit.server.matching.doubles import (
    MORNING,
    WORKER,
    Bench,
    activity_ref,
    bench,
    runs,
    settle,
    workflow_ref,
)


async def hold_one_of_each(b: Bench) -> None:
    """Session `s` has received a workflow task and an activity, and has no open request."""
    b.offer(workflow_ref("w"), activity_ref("a"))
    answer = await b.poll("s", 1, 1)
    await b.poll("s", acknowledged=(answer.sequence,))


async def test_a_cached_run_goes_to_its_session() -> None:
    """A workflow task goes to the session that has its run cached, though another waits longer."""
    async with bench() as b:
        other, own = await b.park(b.request("t", 9)), await b.park(b.request("s", 1))
        b.offer(workflow_ref("r", sticky_session="s"))
        assert ["r"] == runs(await own)
        assert not other.done()


async def test_a_sticky_task_waits_for_its_session() -> None:
    """While its session is busy a sticky task stays in the lane, and goes before others when the session polls."""
    async with bench() as b:
        await b.poll("s")
        b.offer(workflow_ref("general"), workflow_ref("own", sticky_session="s"))
        assert ["general"] == runs(await b.poll("t", 9))
        b.offer(workflow_ref("general2"))
        assert ["own", "general2"] == runs(await b.poll("s", 9))


async def test_priority_goes_over_stickiness() -> None:
    """A more urgent task of the general queue passes the lane."""
    async with bench() as b:
        await b.poll("s")
        b.offer(workflow_ref("own", sticky_session="s"), workflow_ref("urgent", priority_key=1))
        assert ["urgent", "own"] == runs(await b.poll("s", 9))


async def test_a_sticky_task_that_is_not_taken_goes_to_any() -> None:
    """After the sticky schedule-to-start a task leaves the lane, with the stickiness taken off."""
    async with bench() as b:
        await b.rest("s")
        poll = await b.park(b.request("t", 1))
        ref = workflow_ref("r", sticky_session="s")
        b.offer(ref)
        b.pass_time(4.9)
        await settle()
        assert not poll.done()
        b.pass_time(0.2)
        assert ["r"] == runs(await poll)
        assert "" == ref.sticky_session


async def test_only_what_is_late_leaves_the_lane() -> None:
    """A younger task of the same lane stays its own five seconds."""
    async with bench() as b:
        await b.rest("s")
        b.offer(workflow_ref("old", sticky_session="s"))
        b.pass_time(3)
        b.offer(workflow_ref("young", sticky_session="s"))
        b.pass_time(3)
        assert ["old"] == runs(await b.poll("t", 9))
        b.pass_time(3)
        assert ["young"] == runs(await b.poll("t", 9))


async def test_stickiness_to_nobody_is_no_stickiness() -> None:
    """A sticky session that is not here, or does not know the type, does not hold a task up."""
    async with bench() as b:
        await b.poll("s", worker=msgspec.structs.replace(WORKER, workflow_types=("Other",)))
        b.offer(workflow_ref("r1", sticky_session="gone"), workflow_ref("r2", sticky_session="s"))
        assert ["r1", "r2"] == runs(await b.poll("t", 9))


async def test_a_quiet_session_gives_its_workflow_tasks_back() -> None:
    """After one second without an open request the engine is told of the workflow tasks, not of the activities."""
    async with bench() as b:
        await hold_one_of_each(b)
        b.pass_time(0.9)
        assert [] == b.told("quiet")
        b.pass_time(0.2)
        assert [("s", ["w"])] == b.told("quiet")
        assert [] == b.told("lost")


async def test_a_quiet_session_loses_its_lane() -> None:
    """The sticky lane of a quiet session goes to the general queue, and nothing new comes into it."""
    async with bench() as b:
        await b.poll("s")
        b.offer(workflow_ref("r1", sticky_session="s"))
        b.pass_time(1.1)
        b.offer(workflow_ref("r2", sticky_session="s"))
        assert ["r1", "r2"] == runs(await b.poll("t", 9))


async def test_an_open_request_is_not_silence() -> None:
    """A session with a parked poll is there however long it waits."""
    async with bench() as b:
        await hold_one_of_each(b)
        await b.rest("s")
        b.pass_time(50)
        assert [] == b.told("quiet")


async def test_unacknowledged_tasks_of_a_quiet_session_are_handed_out_again() -> None:
    """What a quiet session has not acknowledged was not delivered, and a repeat finds the pushes alone."""
    async with bench() as b:
        b.offer(workflow_ref("w"), activity_ref("a"))
        await b.poll("s")
        push = CancelActivity(token="t")
        b.matching.push("s", push)
        request = b.request("s", 1, 1)
        await b.matching.poll("ns", "q", request)
        b.pass_time(1.1)
        assert [("s", ["w"]), ("s", ["a"])] == b.told("undelivered")
        answer = await b.matching.poll("ns", "q", request)
        assert ([], (push,)) == (runs(answer), answer.pushes)
        await b.poll("s", acknowledged=(request.sequence,))
        assert [] == b.told("received")


async def test_results_stay_in_the_answer_of_a_quiet_session() -> None:
    """The repeat of a respond after silence gets its results, without the tasks that were given away."""
    async with bench() as b:
        await b.poll("s")
        b.offer(activity_ref("a"))
        request = RespondRequest(session="s", sequence=50, completions=(), activity_slots=1)
        assert ["a"] == runs(await (await b.respond(request)))
        b.pass_time(1.1)
        assert [] == runs(await (await b.respond(request)))


async def test_a_session_that_comes_back_in_time_gets_its_answer() -> None:
    """Within the second a repeat finds the answer whole."""
    async with bench() as b:
        b.offer(workflow_ref("w"))
        request = b.request("s", 1)
        await b.matching.poll("ns", "q", request)
        b.pass_time(0.8)
        assert ["w"] == runs(await b.matching.poll("ns", "q", request))
        b.pass_time(0.8)
        assert [] == b.told("undelivered")


async def test_what_is_being_taken_when_the_session_falls_silent_is_given_back() -> None:
    """A hand-out that was suspended over the silence of its session delivers nothing."""
    async with bench() as b:
        b.source.hold["w"] = asyncio.Event()
        b.offer(workflow_ref("w"))
        request = b.request("s", 1)
        poll = await b.park(request)
        poll.cancel()
        await settle()
        b.pass_time(1.1)
        b.source.hold["w"].set()
        await settle()
        assert [("s", ["w"])] == b.told("undelivered")
        assert [] == runs(await b.matching.poll("ns", "q", request))


async def test_a_lost_session_fails_its_activities() -> None:
    """Ten seconds after its last request a session is gone, and its activities count as lost."""
    async with bench() as b:
        await hold_one_of_each(b)
        b.pass_time(1.1)
        b.pass_time(8.8)
        assert [] == b.told("lost")
        b.pass_time(0.2)
        assert [("s", ["a"])] == b.told("lost")
        assert b.matching.session("s") is None
        assert not b.matching.knows("ns", "q", "workflow", "Order")


async def test_a_session_that_comes_back_keeps_its_activities() -> None:
    """A request within the ten seconds ends the silence, and a later one begins anew."""
    async with bench() as b:
        await hold_one_of_each(b)
        b.pass_time(1.1)
        b.pass_time(8)
        await b.poll("s")
        b.pass_time(1.1)
        b.pass_time(8)
        assert [] == b.told("lost")
        b.pass_time(1.1)
        assert [("s", ["a"])] == b.told("lost")


async def test_held_tokens_are_told_once() -> None:
    """The first request to a server lists what the worker holds, and it counts when the worker is lost."""
    async with bench() as b:
        worker = msgspec.structs.replace(WORKER, held=("x", "y"))
        await b.poll("s", worker=worker)
        await b.poll("s", worker=worker)
        assert [("s", ["x", "y"])] == b.told("held")
        b.pass_time(1.1)
        b.pass_time(10)
        assert [("s", ["x", "y"])] == b.told("quiet")
        assert [("s", ["x", "y"])] == b.told("lost")


async def test_leaving_gives_everything_back_at_once() -> None:
    """A session that leaves answers its polls, gives back what it has not received and its lane, and is forgotten."""
    async with bench() as b:
        await hold_one_of_each(b)
        b.offer(activity_ref("unread"))
        await b.poll("s", activity=1)
        poll = await b.park(b.request("s"))
        b.offer(workflow_ref("cached", sticky_session="s"))
        b.matching.leave("ns", "q", LeaveRequest(session="s"))
        assert [] == runs(await poll)
        assert [("s", ["unread"])] == b.told("undelivered")
        assert [("s", ["w"])] == b.told("quiet")
        assert [("s", ["a"])] == b.told("lost")
        assert b.matching.session("s") is None
        assert ["cached"] == runs(await b.poll("t", 9))
        b.pass_time(60)
        assert 1 == len([session for session, _ in b.told("lost") if session == "s"])


async def test_leaving_does_not_fail_what_is_being_completed() -> None:
    """An activity whose completion commits while its worker leaves is not lost."""
    async with bench() as b:
        await hold_one_of_each(b)
        b.source.commit.clear()
        request = msgspec.convert(
            {
                "session": "s",
                "sequence": 50,
                "completions": [{"completion_type": "ActivityTaskCompletion", "token": "a"}],
            },
            RespondRequest,
        )
        respond = await b.respond(request)
        b.matching.leave("ns", "q", LeaveRequest(session="s"))
        b.source.commit.set()
        assert 1 == len((await respond).results)
        assert [("s", [])] == b.told("lost")


async def test_leaving_twice_is_nothing() -> None:
    """To leave a server that does not know the session does nothing."""
    async with bench() as b:
        b.matching.leave("ns", "q", LeaveRequest(session="s"))
        assert [] == b.source.told


async def test_the_server_ends_with_every_poll_answered() -> None:
    """Closing answers parked polls with nothing, waits for commits, and answers later polls at once."""
    async with bench() as b:
        poll = await b.park(b.request("s", 5))
        b.source.commit.clear()
        respond = await b.respond(RespondRequest(session="s", sequence=50, completions=()))
        closing = asyncio.create_task(b.matching.close())
        await settle()
        assert [] == runs(await poll)
        assert not closing.done()
        b.source.commit.set()
        await closing
        assert respond.done()
        b.offer(workflow_ref("r"))
        assert [] == runs(await b.poll("s", 5, wait=timedelta(seconds=60)))


async def test_the_sweeper_sweeps_when_it_is_woken() -> None:
    """The one sweeper ends waits by itself."""
    async with bench() as b:
        poll = await b.park(b.request("s", 1, wait=timedelta(seconds=30)))
        b.wakes.put_nowait(31.0)
        assert [] == runs(await poll)


async def test_a_description_tells_who_polls() -> None:
    """A queue is described with its sessions, their free slots, when they were seen, and what waits."""
    async with bench() as b:
        await b.poll("s")
        b.offer(workflow_ref("r"), activity_ref("odd", type_name="refund"))
        b.now += 5
        await b.rest("t", activity=3)
        described = b.matching.describe("ns", "q")
        assert (1, 1) == (described.workflow_backlog, described.activity_backlog)
        silent, parked = described.pollers
        assert (MORNING - timedelta(seconds=5), MORNING) == (silent.last_seen, parked.last_seen)
        assert (("charge", "ship"), 3) == (parked.activity_types, parked.activity_slots)
        assert () == b.matching.describe("ns", "nothing").pollers
