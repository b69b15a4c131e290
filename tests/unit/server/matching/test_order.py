"""In which order tasks leave, and to whom."""

from __future__ import annotations

from perdure_proto.tasks import WorkerInfo
from tests.unit.server.matching.doubles import EVERY_TYPE, activity_ref, bench, runs, settle, workflow_ref


async def test_tasks_leave_in_order_of_arrival() -> None:
    """Without priorities and keys the first to come is the first to go."""
    async with bench() as b:
        b.offer(*[workflow_ref(f"r{i}") for i in range(5)])
        assert ["r0", "r1", "r2", "r3", "r4"] == runs(await b.poll("s", 9))


async def test_urgent_tasks_go_first() -> None:
    """A lower priority key goes before a higher one, whenever it arrived."""
    async with bench() as b:
        b.offer(activity_ref("low", priority_key=5), activity_ref("usual"), activity_ref("high", priority_key=1))
        assert ["high", "usual", "low"] == runs(await b.poll("s", activity=9))


async def test_a_priority_out_of_range_is_the_nearest() -> None:
    """Keys below 1 and above 5 count as 1 and 5."""
    async with bench() as b:
        b.offer(
            activity_ref("a", priority_key=99), activity_ref("b", priority_key=5), activity_ref("c", priority_key=-4)
        )
        assert ["c", "a", "b"] == runs(await b.poll("s", activity=9))


async def test_queries_go_before_everything() -> None:
    """Somebody waits for a query, so it passes an urgent workflow task."""
    async with bench() as b:
        b.offer(workflow_ref("task", priority_key=1), workflow_ref("query", kind="query"))
        assert ["query", "task"] == runs(await b.poll("s", 9))


async def test_fairness_keys_take_turns() -> None:
    """A key with much waiting does not keep a later key with little waiting."""
    async with bench() as b:
        b.offer(*[activity_ref(f"big{i}", fairness_key="big") for i in range(4)])
        b.offer(*[activity_ref(f"small{i}", fairness_key="small") for i in range(2)])
        assert ["big0", "small0", "big1", "small1", "big2", "big3"] == runs(await b.poll("s", activity=9))


async def test_fairness_weights_give_more_turns() -> None:
    """A key of weight 2 gets two turns for each one of weight 1."""
    async with bench() as b:
        b.offer(*[activity_ref(f"a{i}", fairness_key="a", fairness_weight=2.0) for i in range(4)])
        b.offer(*[activity_ref(f"b{i}", fairness_key="b") for i in range(2)])
        order = runs(await b.poll("s", activity=9))
        assert 2 == len([run for run in order[:3] if run.startswith("a")])
        assert 4 == len([run for run in order[:6] if run.startswith("a")])


async def test_a_late_key_has_no_credit() -> None:
    """A key that was away starts with the others and does not catch up on turns it did not use."""
    async with bench() as b:
        b.offer(*[activity_ref(f"a{i}", fairness_key="a") for i in range(6)])
        await b.poll("s", activity=3)
        b.offer(*[activity_ref(f"b{i}", fairness_key="b") for i in range(3)])
        later = runs(await b.poll("s", activity=4))
        assert 2 == len([run for run in later if run.startswith("b")])


async def test_new_keys_do_not_starve_an_old_one() -> None:
    """A stream of keys that are new each time does not keep the second task of a key waiting."""
    async with bench() as b:
        b.offer(activity_ref("old0", fairness_key="old"), activity_ref("old1", fairness_key="old"))
        seen: list[str] = []
        for i in range(6):
            b.offer(activity_ref(f"new{i}", fairness_key=f"new{i}"))
            seen += runs(await b.poll("s", activity=1))
        assert "old1" in seen


async def test_priority_goes_over_types() -> None:
    """Tasks of several types leave in one order, not type by type."""
    async with bench() as b:
        b.offer(activity_ref("1"), activity_ref("2", type_name="ship"), activity_ref("3"))
        b.offer(activity_ref("0", type_name="ship", priority_key=1))
        assert ["0", "1", "2", "3"] == runs(await b.poll("s", activity=9))


async def test_an_unknown_type_waits_without_blocking() -> None:
    """A task of a type that no session knows stays, and those behind it pass."""
    async with bench() as b:
        b.offer(activity_ref("odd", type_name="refund"), activity_ref("even"))
        assert ["even"] == runs(await b.poll("s", activity=9))
        assert 1 == b.matching.describe("ns", "q").activity_backlog
        assert not b.matching.knows("ns", "q", "activity", "refund")
        assert b.matching.knows("ns", "q", "activity", "charge")
        refunds = WorkerInfo(identity="r", activity_types=("refund",))
        assert ["odd"] == runs(await b.poll("new", activity=9, worker=refunds))


async def test_a_dynamic_worker_takes_every_type() -> None:
    """A session with dynamic handlers takes types that nobody names, in the common order."""
    async with bench() as b:
        await b.poll("s")
        b.offer(activity_ref("1", type_name="x"), activity_ref("2"), activity_ref("3", type_name="y"))
        assert ["1", "2", "3"] == runs(await b.poll("d", activity=9, worker=EVERY_TYPE))


async def test_a_type_left_behind_is_served_later() -> None:
    """What waits of a type outlives the session that named it."""
    async with bench() as b:
        await b.poll("s")
        b.offer(activity_ref("1"))
        b.pass_time(2)
        b.pass_time(20)
        assert b.matching.session("s") is None
        b.offer(activity_ref("2"))
        assert ["1", "2"] == runs(await b.poll("next", activity=9))


async def test_slots_bound_an_answer() -> None:
    """An answer brings no more of each kind than its slots."""
    async with bench() as b:
        b.offer(*[workflow_ref(f"w{i}") for i in range(3)], *[activity_ref(f"a{i}") for i in range(3)])
        assert ["w0", "w1", "a0"] == runs(await b.poll("s", 2, 1))


async def test_a_tick_leaves_in_one_answer() -> None:
    """All tasks that are offered in one tick come with one answer, up to the slots."""
    async with bench() as b:
        poll = await b.park(b.request("s", 2, 2))
        b.offer(*[workflow_ref(f"w{i}") for i in range(3)], activity_ref("a"))
        assert ["w0", "w1", "a"] == runs(await poll)
        assert ["w2"] == runs(await b.poll("s", 2))


async def test_tasks_spread_over_parked_polls() -> None:
    """The poll with most free slots is next, so that work spreads over idle workers."""
    async with bench() as b:
        polls = [await b.park(b.request(name, 2)) for name in ("s", "t", "u")]
        b.offer(*[workflow_ref(f"r{i}") for i in range(3)])
        assert [["r0"], ["r1"], ["r2"]] == [runs(await poll) for poll in polls]


async def test_the_poll_with_most_slots_is_next() -> None:
    """A worker with more room gets more."""
    async with bench() as b:
        small, large = await b.park(b.request("s", 1)), await b.park(b.request("t", 3))
        b.offer(*[workflow_ref(f"r{i}") for i in range(3)])
        await settle()
        assert ["r2"] == runs(await small)
        assert ["r0", "r1"] == runs(await large)


async def test_stale_tasks_make_room_for_others() -> None:
    """What turns out stale at hand-out is replaced by what waits behind it."""
    async with bench() as b:
        b.source.stale = {"r0", "r1"}
        b.offer(*[workflow_ref(f"r{i}") for i in range(4)])
        assert ["r2", "r3"] == runs(await b.poll("s", 2))


async def test_a_poll_that_met_only_stale_tasks_waits_on() -> None:
    """Stale tasks do not end the wait of a parked poll."""
    async with bench() as b:
        b.source.stale = {"old"}
        poll = await b.park(b.request("s", 2))
        b.offer(workflow_ref("old"))
        await settle()
        assert not poll.done()
        b.offer(workflow_ref("new"))
        assert ["new"] == runs(await poll)


async def test_a_task_that_cannot_be_built_costs_no_other() -> None:
    """An error of one hand-out leaves the rest of the answer alone."""
    async with bench() as b:
        b.source.broken = {"r0"}
        b.offer(workflow_ref("r0"), workflow_ref("r1"))
        assert ["r1"] == runs(await b.poll("s", 2))
