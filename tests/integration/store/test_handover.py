"""Giving a live shard away: the order of it, and what happens when nobody knows whether it was given."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec

from perdure_server.store.membership import Membership
from tests.integration.store.members import LEASE, SHARDS, Town
from tests.integration.store.waiting import until_waiting


async def test_giver_gives_only_what_is_drained(town: Town) -> None:
    """Until the last commit about a shard has landed the table says that it is ours; meanwhile we refuse and beat."""
    (one,) = await town.start("one")
    one.holder.hold()
    await (await town.node("two")).start()
    await one.holder.asked_to_drain.wait()
    await town.pass_time(3 * LEASE.total_seconds())
    assert ["one"] * SHARDS == await town.owners()
    assert not one.holder.draining & one.holder.has
    assert {"one", "two"} == set(one.ownership.map.members)
    one.holder.may_drain.set()
    await town.quiet()


async def test_shards_are_given_in_portions(town: Town) -> None:
    """What is not in the portion is served meanwhile."""
    (one,) = await town.start("one")
    one.holder.hold()
    await (await town.node("two")).start()
    await one.holder.asked_to_drain.wait()
    assert one.options.give_max == len(one.holder.draining)
    assert SHARDS - one.options.give_max == len(one.holder.has)
    one.holder.may_drain.set()
    await town.quiet()


async def test_giving_stops_for_nothing_else(town: Town) -> None:
    """While a drain takes long a dead server's shards are taken, and those that are ours of them are gained."""
    one, two = await town.start("one", "two")
    one.holder.hold()
    three = await (await town.node("three")).start()
    await one.holder.asked_to_drain.wait()
    await two.crash()
    await town.pass_time(2 * LEASE.total_seconds())
    await town.until(lambda: "two" not in one.ownership.map.owners + three.ownership.map.owners)
    await town.until(lambda: three.holder.has)
    one.holder.may_drain.set()
    await town.quiet()


async def test_given_although_the_answer_was_lost(town: Town) -> None:
    """A giver whose connection dies in the compare-and-set reads the table, and finds that the shards are gone."""
    (one,) = await town.start("one")
    async with town.control.transaction():
        member, fence = await town.member("two")
        await town.control.execute("select from shards order by shard_id for update")
        await until_waiting(town.control, 1)
        one.presence._member.close()
        await one.back.get()
        assert not one.holder.given_away
        assert one.options.give_max == len(one.holder.draining)
        await until_waiting(
            town.control, 2
        )  # behind the lost one it tries to take up again what the table says is ours
    await town.until(lambda: one.holder.given_away == town.share_of("two", ["one", "two"]))
    assert one.holder.has == town.share_of("one", ["one", "two"])
    assert (await member.beat(fence)).held
    member.close()


async def test_lost_move_that_lands_late_moves_nothing(town: Town) -> None:
    """What the table said was ours was taken up again, with a higher epoch: the lost move finds another row."""
    (one,) = await town.start("one")
    one.options = one.presence.options = msgspec.structs.replace(one.options, give_max=SHARDS)
    one.holder.hold()
    member, _ = await town.member("two")
    await one.holder.asked_to_drain.wait()
    async with town.control.transaction():
        await town.control.execute("select from servers where server = 'two' for update")
        one.holder.may_drain.set()
        await until_waiting(town.control, 1)  # the move waits for the row of its target, before it locks a shard
        one.holder.hold()  # what would be given from now on is not what was lost
        one.presence._member.close()
        await town.until(lambda: len(one.holder.gained) == 2)
        await town.control.execute("update servers set leaving = true where server = 'two'")
    await town.until(lambda: one.presence.view().counted == ["one"])
    one.holder.may_drain.set()
    await town.until(lambda: not one.holder.draining)
    await one.look()
    assert one.holder.has == {shard for shard, owner in enumerate(await town.owners()) if owner == "one"}
    member.close()


async def test_target_that_has_gone_gets_nothing(town: Town) -> None:
    """A server whose row has gone since our look owns nothing: the giver takes its shards up again."""
    one, two = await town.start("one", "two")
    one.holder.hold()
    three = await (await town.node("three")).start()
    await one.holder.asked_to_drain.wait()
    before = set(one.holder.given_away)
    await three.freeze()
    await town.control.execute("delete from servers where server = 'three'")
    one.holder.may_drain.set()
    await town.until(lambda: not one.holder.draining and "three" not in one.ownership.map.members)
    assert before == one.holder.given_away
    three.thaw()
    await town.quiet()
    assert two.is_up


async def test_nothing_is_given_to_one_that_has_not_beaten(town: Town) -> None:
    """A server counts once it has registered and beaten: one that ends as soon as it has begun moves nothing."""
    (one,) = await town.start("one")
    member = await Membership.open(town.dsn, 1, "two")
    fence = await one.store.take_fence("two")
    await member.register(fence, "", "")
    await one.look()
    assert ["one"] == one.presence.view().counted
    await member.beat(fence)
    await one.look()
    assert ["one", "two"] == one.presence.view().counted
    member.close()


async def test_nothing_is_given_to_a_silent_one(town: Town) -> None:
    """After half of the lease without a beat a server gets nothing; when it beats it gets its share."""
    one, two = await town.start("one", "two")
    await two.freeze()
    await town.pass_time(0.9 * LEASE.total_seconds())
    share = town.share_of("two", ["one", "two"])
    await town.control.execute(
        "update shards set owner = 'one', epoch = epoch + 1 where shard_id = any($1::int[])", sorted(share)[:2]
    )
    await town.until(lambda: one.holder.has & share)
    await one.look()
    await one.look()
    assert set(sorted(share)[:2]) == one.holder.has & share
    two.holder.has -= one.holder.has
    two.ownership._holdings.held -= one.holder.has
    two.thaw()
    await town.quiet()


async def test_locked_rows_do_not_stop_heartbeats(town: Town) -> None:
    """A move that waits for a row gives up before the others take us for dead."""
    one = await town.node("one")
    one.options = msgspec.structs.replace(one.options, lease=timedelta(seconds=0.4))
    await one.start()
    await town.quiet()
    async with town.control.transaction():
        await town.control.execute("select from shards order by shard_id for update")
        member, _ = await town.member("two")
        await one.away.get()
        await one.back.get()
        await one.look()
    member.close()


async def test_leaving_is_bounded_by_its_caller(town: Town) -> None:
    """A server that cannot drain is cut off by its caller, and its shards go to the others after the lease."""
    one, two = await town.start("one", "two")
    two.holder.hold()
    leaving = asyncio.create_task(two.ownership.leave(two.holder))
    await two.holder.asked_to_drain.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await two.ownership.close()
    two.is_up = False
    await town.pass_time(2 * LEASE.total_seconds())
    await town.quiet()
    assert one.is_up


async def test_row_goes_only_when_nothing_is_owned(town: Town) -> None:
    """A shard that was given to a server in the very moment in which it left is not left behind."""
    (one,) = await town.start("one")
    async with town.control.transaction():
        member, fence = await town.member("two")
        await town.control.execute("select from servers where server = 'two' for key share")  # as a giver does
        leaving = asyncio.create_task(member.leave(fence))
        await until_waiting(town.control, 1)
        await town.control.execute("update shards set owner = 'two', epoch = epoch + 1 where shard_id = 0")
    assert not await leaving
    assert ["one", "two"] == await town.servers()
    assert one.is_up
    member.close()


async def test_frozen_giver_gives_nothing_when_it_wakes(town: Town) -> None:
    """A giver that stopped between drain and move was replaced: its move, its beat and its leave do nothing."""
    one, two = await town.start("one", "two")
    one.holder.hold()
    three = await (await town.node("three")).start()
    await one.holder.asked_to_drain.wait()
    await one.freeze()
    one.holder.may_drain.set()
    await town.pass_time(2 * LEASE.total_seconds())
    await town.quiet()
    before = await town.control.fetch("select * from shards order by shard_id")
    one.thaw()
    assert "the fence of 'one' was raised: another server has taken over" == await one.lost.get()
    await one.running
    one.is_up = False
    await one.ownership.leave(one.holder)
    assert before == await town.control.fetch("select * from shards order by shard_id")
    assert ["three", "two"] == await town.servers()
    await asyncio.gather(two.look(), three.look())
    await town.quiet()
