"""Windows, refills and limits: what matching holds at most, and what it does then."""

from __future__ import annotations

import msgspec
import pytest

from perdure_proto.errors import Code, ServiceError
from perdure_proto.tasks import CancelActivity, RespondRequest
from perdure_server.config import EngineSettings
from perdure_server.matching import MatchingLimits
from perdure_server.matching.fairness import KEYS_KEPT_MAX
from tests.unit.server.matching.doubles import WORKER, activity_ref, bench, runs, settle, workflow_ref

SMALL = EngineSettings(queue_window_max=4)


async def test_a_full_window_refuses() -> None:
    """A queue takes as many tasks as its window and refuses the next; another kind has its own window."""
    async with bench(SMALL) as b:
        await b.poll("s")
        assert [True] * 4 + [False] == [b.matching.offer(activity_ref(f"a{i}")) for i in range(5)]
        assert b.matching.offer(workflow_ref("w"))


async def test_a_sticky_lane_counts_in_the_window() -> None:
    """Sticky tasks that wait fill the window too."""
    async with bench(SMALL) as b:
        await b.poll("s")
        assert [True] * 4 + [False] == [b.matching.offer(workflow_ref(f"w{i}", sticky_session="s")) for i in range(5)]
        assert 4 == len(runs(await b.poll("s", 9)))
        assert b.matching.offer(workflow_ref("w", sticky_session="s"))


async def test_unknown_types_leave_the_window_to_others() -> None:
    """A full window of types that nobody knows does not keep known types out."""
    async with bench(SMALL) as b:
        await b.poll("s")
        assert [True] * 4 + [False] == [b.matching.offer(activity_ref(f"x{i}", type_name="x")) for i in range(5)]
        assert b.matching.offer(activity_ref("a"))


async def test_a_refill_below_half_the_window() -> None:
    """After an overflow the engine is asked once as soon as less than half the window is filled."""
    async with bench(SMALL) as b:
        await b.poll("s")
        b.offer(*[activity_ref(f"a{i}") for i in range(4)])
        b.source.parked = [activity_ref(f"p{i}") for i in range(2)]
        assert not b.matching.offer(activity_ref("overflow"))
        await b.poll("s", activity=2)
        await settle()
        assert [] == b.source.refills
        await b.poll("s", activity=1)
        await settle()
        assert ("ns", "q", "activity", 3) == b.source.refills[0]
        assert ["a3", "p0", "p1"] == runs(await b.poll("s", activity=9))


async def test_half_the_window_is_for_what_is_parked() -> None:
    """Once something is parked, new tasks get in below half the window, and what is paged back up to all of it."""
    async with bench(SMALL) as b:
        await b.poll("s")
        b.offer(*[activity_ref(f"a{i}") for i in range(4)])
        assert not b.matching.offer(activity_ref("parked"))
        await b.poll("s", activity=1)
        assert not b.matching.offer(activity_ref("new"))
        assert b.matching.offer(activity_ref("back"), paged=True)
        await b.poll("s", activity=3)
        assert b.matching.offer(activity_ref("below half"))


async def test_types_that_are_named_late_are_asked_for_as_they_fit() -> None:
    """What was parked before any worker came is paged back as far as the lanes of its type have room, not further."""
    async with bench(SMALL) as b:
        b.offer(*[activity_ref(f"a{i}") for i in range(4)])
        b.source.parked = [activity_ref(f"p{i}") for i in range(9)]
        assert not b.matching.offer(activity_ref("parked"))
        await b.poll("s", activity=3)
        await settle()
        assert [("ns", "q", "activity", 3)] == b.source.refills
        assert 6 == len(b.source.parked)


async def test_nothing_comes_back_for_nobody() -> None:
    """While no worker has come and the window is full, what is parked is left where it is."""
    async with bench(SMALL) as b:
        b.offer(*[activity_ref(f"a{i}") for i in range(4)])
        b.matching.note_parked("ns", "q", "activity")
        b.pass_time(5)
        await settle()
        assert [] == b.source.refills


async def test_refills_end_when_one_brings_nothing() -> None:
    """The engine is asked again while it brings something, and then no more."""
    async with bench(SMALL) as b:
        b.source.parked = [activity_ref(f"p{i}") for i in range(10)]
        await b.poll("s")
        b.matching.note_parked("ns", "q", "activity")
        seen: list[str] = []
        for _ in range(6):
            await settle()
            seen += runs(await b.poll("s", activity=9))
            b.pass_time(0.5)
        assert [f"p{i}" for i in range(10)] == seen
        b.pass_time(0.6)
        await b.poll("s")
        b.pass_time(0.6)
        await settle()
        asked = len(b.source.refills)
        b.pass_time(0.6)
        await b.poll("s")
        b.pass_time(0.6)
        await settle()
        assert asked == len(b.source.refills)


async def test_a_refill_that_offers_nothing_may_be_followed() -> None:
    """What was taken out and needs no worker any more says nothing about what is parked behind it."""
    async with bench(SMALL) as b:
        b.source.parked, b.source.parked_in_vain = [activity_ref("p")], 4
        await b.poll("s")
        b.matching.note_parked("ns", "q", "activity")
        await settle()
        b.pass_time(1.1)
        await b.poll("s")
        await settle()
        assert ["p"] == runs(await b.poll("s", activity=9))


async def test_a_refill_feeds_parked_polls() -> None:
    """Parked tasks that a worker waits for go straight to it."""
    async with bench(SMALL) as b:
        poll = await b.park(b.request("s", activity=9))
        b.source.parked = [activity_ref("p")]
        b.matching.note_parked("ns", "q", "activity")
        assert ["p"] == runs(await poll)


async def test_limits_are_named() -> None:
    """A breach is refused with the name of the limit."""
    limits = MatchingLimits(sessions_max=1, types_max=3, answers_cached_max=2, requests_session_max=2)
    async with bench(limits=limits) as b:
        with pytest.raises(ServiceError, match="types_max") as refused:
            await b.poll("s", worker=msgspec.structs.replace(WORKER, workflow_types=("A", "B", "C", "D")))
        assert Code.RESOURCE_EXHAUSTED is refused.value.code
        b.known.clear()
        await b.poll("s")
        with pytest.raises(ServiceError, match="sessions_max"):
            await b.poll("t")
        await b.poll("s")
        with pytest.raises(ServiceError, match="answers_cached_max"):
            await b.poll("s")
        polls = [await b.park(b.request("s", acknowledged=(1, 2, 3, 4))) for _ in range(2)]
        with pytest.raises(ServiceError, match="requests_session_max"):
            await b.matching.respond("ns", "q", RespondRequest(session="s", sequence=50, completions=()))
        assert [False, False] == [poll.done() for poll in polls]


async def test_parked_polls_are_bounded() -> None:
    """A server parks so many polls and no more."""
    async with bench(limits=MatchingLimits(parked_polls_max=1)) as b:
        await b.rest("s")
        with pytest.raises(ServiceError, match="parked_polls_max"):
            await b.matching.poll("ns", "q", b.request("t"))


async def test_pushes_are_bounded() -> None:
    """A session that fetches nothing gets no more pushes than the limit."""
    async with bench(limits=MatchingLimits(pushes_queued_max=2)) as b:
        await b.poll("s")
        assert [True, True, False] == [b.matching.push("s", CancelActivity(token=str(i))) for i in range(3)]


async def test_slots_are_bounded() -> None:
    """A poll for more than the most slots gets the most."""
    async with bench(limits=MatchingLimits(slots_max=2)) as b:
        b.offer(*[activity_ref(f"a{i}") for i in range(3)])
        assert 2 == len(runs(await b.poll("s", activity=10**9)))


async def test_fairness_keys_are_forgotten() -> None:
    """Keys whose turn has passed take no memory."""
    async with bench() as b:
        await b.poll("s")
        b.offer(activity_ref("stays", fairness_key="stays"), activity_ref("low", priority_key=5))
        for i in range(3 * KEYS_KEPT_MAX):
            b.offer(activity_ref(f"a{i}", fairness_key=f"key{i}"))
            await b.poll("s", activity=1, acknowledged=(i + 1,))
        turns = b.matching._queues.get("ns", "q").kinds[1].backlog.turns
        assert len(turns._last[3]) <= KEYS_KEPT_MAX + 1


async def test_idle_queues_are_forgotten() -> None:
    """A queue without sessions and tasks takes no memory."""
    async with bench() as b:
        b.offer(workflow_ref("r", task_queue="q2"))
        await b.poll("s")
        b.pass_time(1.1)
        b.pass_time(20)
        b.pass_time(20)
        assert [("ns", "q2")] == list(b.matching._queues.by_name)
