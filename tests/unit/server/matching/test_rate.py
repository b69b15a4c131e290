"""The rate of a task queue: what leaves when, whoever waits."""

from __future__ import annotations

import msgspec
import pytest

from perdure_proto.errors import ServiceError
from tests.unit.server.matching.doubles import WORKER, Bench, activity_ref, bench, runs, settle, workflow_ref

TEN = msgspec.structs.replace(WORKER, max_task_queue_activities_per_second=10.0)


def backlog(count: int) -> list[str]:
    return [f"r{number}" for number in range(count)]


async def fill(b: Bench, count: int) -> None:
    """A queue with a rate of ten a second, and so many activities in it."""
    await b.poll("first", worker=TEN)
    b.offer(*[activity_ref(run_id) for run_id in backlog(count)])


async def test_a_poll_takes_what_the_rate_lets_go() -> None:
    """A fifth of a second's worth at once, then as time passes; never more than that at once."""
    async with bench() as b:
        await fill(b, 9)
        assert ["r0", "r1"] == runs(await b.poll("s", activity=9))
        assert [] == runs(await b.poll("s", activity=9))
        b.pass_time(0.1)
        assert ["r2"] == runs(await b.poll("s", activity=9))
        b.pass_time(60)
        assert ["r3", "r4"] == runs(await b.poll("s", activity=9))


async def test_the_rate_is_that_of_all_workers() -> None:
    """A worker that names no rate shares it."""
    async with bench() as b:
        await fill(b, 9)
        assert ["r0"] == runs(await b.poll("s", activity=1))
        assert ["r1"] == runs(await b.poll("t", activity=9))
        assert [] == runs(await b.poll("s", activity=9))


async def test_who_waits_gets_it_when_its_time_comes() -> None:
    """A parked poll is answered by the tick after which the next may leave, in order of arrival."""
    async with bench() as b:
        await fill(b, 3)
        await b.poll("s", activity=9)
        waiting = await b.park(b.request("s", activity=9))
        b.offer(activity_ref("late"))
        assert not waiting.done()
        b.pass_time(0.1)
        await settle()
        assert ["r2"] == runs(await waiting)
        b.pass_time(0.1)
        assert ["late"] == runs(await b.poll("s", activity=9))


async def test_a_task_that_meets_a_poll_counts_too() -> None:
    """Without a backlog the first to come leave at once, until the rate is used up."""
    async with bench() as b:
        await fill(b, 0)
        waiting = await b.park(b.request("s", activity=9))
        b.offer(*[activity_ref(run_id) for run_id in backlog(4)])
        await settle()
        assert ["r0", "r1"] == runs(await waiting)


async def test_workflow_tasks_have_no_rate() -> None:
    """The rate is that of activities."""
    async with bench() as b:
        await fill(b, 9)
        b.offer(*[workflow_ref(run_id) for run_id in backlog(9)])
        assert backlog(9) == runs(await b.poll("s", 9))


async def test_the_last_worker_to_name_a_rate_counts() -> None:
    """A new rate holds from the introduction of its worker on."""
    async with bench() as b:
        await fill(b, 60)
        await b.poll("faster", worker=msgspec.structs.replace(WORKER, max_task_queue_activities_per_second=100.0))
        b.pass_time(1)
        assert backlog(20) == runs(await b.poll("s", activity=50))


@pytest.mark.parametrize("rate", [-1.0, float("inf"), float("nan")])
async def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    """Below 0, endless or no number."""
    async with bench() as b:
        with pytest.raises(ServiceError, match="max_task_queue_activities_per_second"):
            await b.poll("s", worker=msgspec.structs.replace(WORKER, max_task_queue_activities_per_second=rate))


async def test_with_others_a_queue_has_its_share_of_the_rate() -> None:
    """One task at first, and what the home gives from then on; a new limit gives no more by itself."""
    async with bench() as b:
        looks: list[None] = []
        b.matching.sharing.with_others(lambda: False, lambda: looks.append(None))
        await fill(b, 60)
        assert ["r0"] == runs(await b.poll("s", activity=9))
        b.pass_time(0.5)
        assert [] == runs(await b.poll("s", activity=9))
        [queue] = b.matching.limited()
        assert queue.rate is not None
        queue.rate.share(5.0, b.now)
        b.pass_time(0.2)
        assert ["r1"] == runs(await b.poll("s", activity=9))
        await b.poll("faster", worker=msgspec.structs.replace(WORKER, max_task_queue_activities_per_second=100.0))
        assert (5.0, 100.0, 2) == (queue.rate.per_second, queue.rate.limit, len(looks))
        b.pass_time(0.2)
        assert ["r2"] == runs(await b.poll("s", activity=9))


async def test_a_queue_says_its_rate() -> None:
    """The limit of all servers, not the share of this one."""
    async with bench() as b:
        b.matching.sharing.with_others(lambda: False, lambda: None)
        await fill(b, 0)
        assert 10.0 == b.matching.describe("ns", "q").activities_per_second
