"""Shards that were given away: their tasks leave backlog and sticky lanes, and room is made for others."""

from __future__ import annotations

from datetime import timedelta

from perdure_proto.tasks import ListHeld
from perdure_server.config import EngineSettings
from tests.unit.server.matching.doubles import bench, runs, workflow_ref


async def test_what_waits_of_other_shards_stays_in_its_order() -> None:
    """Only the shards named are forgotten, from lanes of types and of sessions."""
    async with bench(EngineSettings(queue_window_max=6)) as b:
        await b.poll("s")
        for n in range(3):
            b.offer(workflow_ref(f"own{n}", sticky_session="s", shard_id=n), workflow_ref(f"any{n}", shard_id=n))
        assert not b.matching.offer(workflow_ref("more"))
        b.matching.withdraw({0, 1})
        assert (2, True) == (b.matching.describe("ns", "q").workflow_backlog, b.matching.offer(workflow_ref("more")))
        assert ["own2", "any2", "more"] == runs(await b.poll("s", 9))


async def test_a_lane_that_is_empty_then_does_not_expire() -> None:
    """Nothing is left of it that could go to others."""
    async with bench() as b:
        await b.poll("s")
        b.offer(workflow_ref("own", sticky_session="s", shard_id=1))
        b.matching.withdraw({1})
        b.pass_time(60)
        assert [] == runs(await b.poll("t", 9))


async def test_workers_are_asked_with_the_poll_that_rests() -> None:
    """The question does not wait for the end of a long poll."""
    async with bench() as b:
        polling = await b.park(b.request("s"))
        b.matching.ask_held()
        assert (ListHeld(),) == (await polling).pushes


async def test_a_list_is_heard_once() -> None:
    """A repeat of the request gets the answer that was kept: the list may be old by then."""
    async with bench() as b:
        await b.poll("s")
        request = b.request("s", held=("t1", "t2"), wait=timedelta(0))
        for _ in range(2):
            await b.matching.poll("ns", "q", request)
        assert [("s", ["t1", "t2"])] == b.told("held")
