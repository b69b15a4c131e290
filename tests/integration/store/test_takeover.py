"""Two connections and one fence row: what a taker waits for, what comes too late, and what stands in the way."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

import asyncpg
import pytest

from perdure_server.store.fences import Fences
from perdure_server.store.membership import Membership, Move, Moved, ShardRow
from perdure_server.store.pool import ReadPool
from perdure_server.store.port import CommitBatch, CommitOutcomeUnknownError, Fence, FenceLostError, RunKey
from perdure_server.store.postgres import PostgresStore
from tests.integration.store.members import ALL, LEASE, Town
from tests.integration.store.rows import SHARD, append, begin, merge, new_run_id
from tests.integration.store.test_rows import beside
from tests.integration.store.waiting import count_rows, until_waiting

Control: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
CLAIM = "insert into current_executions values (1, $1, 1, 'order-1', $2)"


async def test_taker_waits_for_a_commit_in_flight(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A commit that has its fence finishes before the epoch rises, so whoever reads afterwards sees it."""
    run = new_run_id()
    rival = control.transaction()
    await rival.start()
    await control.execute(CLAIM, SHARD, new_run_id())  # holds the commit up after it has taken its fence
    commit = asyncio.create_task(postgres_store.commit(fence, begin(run)))
    await until_waiting(control, 1)
    raising = asyncio.create_task(postgres_store.take_fence(fence.server))
    await until_waiting(control, 2)
    assert not raising.done()
    await rival.rollback()
    taken = await raising
    assert await postgres_store.load_run(SHARD, run, 1) is not None
    assert {run} == (await commit).accepted
    assert fence.epoch + 1 == taken.epoch


async def test_commit_that_comes_after_the_taker_is_refused(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A commit that finds the taker at work waits for it, then writes nothing at all."""
    first, second = new_run_id(), new_run_id()
    await postgres_store.commit(fence, begin(first))
    before = await count_rows(control)
    async with control.transaction():
        await control.execute("select epoch from fences where server = $1 for update", fence.server)
        await control.execute("update fences set epoch = epoch + 1 where server = $1", fence.server)
        batch = merge(begin(second, "order-2"), CommitBatch(appends=[append(first, 1, 3, 3)]), beside(first))
        commit = asyncio.create_task(postgres_store.commit(fence, batch))
        await until_waiting(control, 1)
    result = await commit
    assert (False, set()) == (result.fence_held, result.accepted)
    assert before == await count_rows(control)


async def test_commit_goes_on_when_the_taker_gives_up(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A taker that rolls back has taken nothing."""
    run = new_run_id()
    taker = control.transaction()
    await taker.start()
    await control.execute("select epoch from fences where server = $1 for update", fence.server)
    commit = asyncio.create_task(postgres_store.commit(fence, begin(run)))
    await until_waiting(control, 1)
    await taker.rollback()
    assert {run} == (await commit).accepted


async def test_backend_in_the_way_is_terminated(
    postgres_store: PostgresStore, fence: Fence, control: Control, database_url: str
) -> None:
    """A commit that holds its fence too long is ended, and has written nothing."""
    run = new_run_id()
    pool = await ReadPool.open(database_url)
    fences = Fences(database_url, pool, patience_seconds=0.01)
    async with control.transaction():
        await control.execute(CLAIM, SHARD, new_run_id())
        commit = asyncio.create_task(postgres_store.commit(fence, begin(run)))
        await until_waiting(control, 1)
        raised = await fences.raise_epoch(fence)
        with pytest.raises(CommitOutcomeUnknownError):
            await commit
    assert fence.epoch + 1 == raised.epoch
    assert set() == await postgres_store.read_back([(SHARD, run, 1, 2)])
    assert {run} == (await postgres_store.commit(raised, begin(run, "order-2"))).accepted
    await pool.close()


async def test_two_takers(postgres_store: PostgresStore, fence: Fence) -> None:
    """Of two that raise the same epoch one gets it and the other is told."""
    both = await asyncio.gather(*(postgres_store.raise_epoch(fence) for _ in range(2)), return_exceptions=True)
    assert [Fence, FenceLostError] == sorted((type(one) for one in both), key=lambda kind: kind.__name__)


async def test_retention_and_commit_do_not_deadlock(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A commit that replaces an expired run while it is being deleted waits, and then loses its start."""
    first, second = new_run_id(), new_run_id()
    await postgres_store.commit(fence, begin(first))
    async with control.transaction():
        await control.execute("delete from current_executions")
        batch = merge(begin(second, replaces=first), CommitBatch(wakes_gone=[RunKey(SHARD, first)]))
        commit = asyncio.create_task(postgres_store.commit(fence, batch))
        await until_waiting(control, 1)
        await control.execute("delete from history")
        await control.execute("delete from executions")
    assert set() == (await commit).accepted


async def test_server_that_beats_again_is_not_replaced(
    postgres_store: PostgresStore, fence: Fence, control: Control, database_url: str
) -> None:
    """A raise that comes late finds another heartbeat than the one that stood still, and leaves the server alone."""
    member = await Membership.open(database_url, 1, fence.server)
    await member.register(fence, "", "")
    seen = await control.fetchval("select beat from servers")
    await member.beat(fence)
    with pytest.raises(FenceLostError):
        await postgres_store.raise_if_silent(fence, seen)
    assert (await member.beat(fence)).held
    raised = await postgres_store.raise_if_silent(fence, seen + 2)
    assert not (await member.beat(fence)).held
    assert fence.epoch + 1 == raised.epoch
    member.close()


async def test_dead_server_is_replaced_after_its_lease(town: Town) -> None:
    """Its shards go to those whom the hash names, nobody else's move, its row goes, and its fence is raised."""
    one, two, three = await town.start("one", "two", "three")
    share = town.share_of("two", ["one", "two", "three"])
    had = one.holder.has | three.holder.has
    await two.crash()
    await town.pass_time(0.9 * LEASE.total_seconds())
    assert share == {shard for shard, owner in enumerate(await town.owners()) if owner == "two"}
    await town.pass_time(0.5 * LEASE.total_seconds())
    await town.quiet()
    assert share == (one.holder.has | three.holder.has) - had
    assert ["one", "three"] == await town.servers()
    assert not await two.store.confirm_fence(two.ownership.fence)


async def test_zombie_changes_nothing(town: Town) -> None:
    """A server that stood still was replaced: when it wakes it is told, ends, and comes back like a new one."""
    one, two = await town.start("one", "two")
    await two.freeze()
    await town.pass_time(2 * LEASE.total_seconds())
    await town.quiet()
    two.thaw()
    assert "the fence of 'two' was raised: another server has taken over" == await two.lost.get()
    await two.running
    two.is_up = False
    await town.quiet()
    assert ALL == one.holder.has
    await two.ownership.close()
    await town.start("two")


async def test_wakened_gainer_gains_nothing(town: Town) -> None:
    """A server that stood still after it had seen a gift, and before it took it up, never shows it to its engine."""
    one, two = await town.start("one", "two")
    gained = list(two.holder.gained)
    await two.freeze()
    rows = [ShardRow(shard, "two", epoch) for shard, epoch in enumerate(one.ownership.map.epochs)]
    two.presence.map.take_rows(rows)
    waking = asyncio.create_task(two.ownership._holdings.gain(two.holder))
    await town.control.execute("update fences set epoch = epoch + 1 where server = 'two'")
    two.thaw()
    await asyncio.gather(waking, two.running)
    two.is_up = False
    assert gained == two.holder.gained


async def test_two_takers_of_one_server(town: Town) -> None:
    """All see it dead at once: one raises, the others look again, and each shard has one new owner."""
    one, two, three, four = await town.start("one", "two", "three", "four")
    epochs = await town.control.fetchval("select sum(epoch) from shards")
    epoch = two.ownership.fence.epoch
    share = len(two.holder.has)
    await two.crash()
    await town.pass_time(2 * LEASE.total_seconds())
    await town.quiet()
    await asyncio.gather(one.look(), three.look(), four.look())
    assert epoch + 1 == await town.control.fetchval("select epoch from fences where server = 'two'")
    # Each is assigned once and taken up once.
    assert epochs + 2 * share == await town.control.fetchval("select sum(epoch) from shards")


async def test_shards_are_assigned_after_the_raise(town: Town) -> None:
    """While a commit of the dead server is in flight it keeps its shards, and nothing of it is read."""
    one, two = await town.start("one", "two")
    share = set(two.holder.has)
    await two.crash()
    async with town.control.transaction():
        await town.control.execute("select from fences where server = 'two' for key share")
        town.now += 0.4 * LEASE.total_seconds()
        for _ in range(3):
            await one.look()
            town.now += 0.4 * LEASE.total_seconds()
        await until_waiting(town.control, 1)
        await one.look()
        assert share == {shard for shard, owner in enumerate(await town.owners()) if owner == "two"}
        assert not one.holder.has & share
    await town.quiet()


async def test_restart_during_a_takeover_keeps_its_shards(town: Town) -> None:
    """The taker has raised and read: the server that is back adopts its shards, and the taker's move loses."""
    one, two = await town.start("one", "two")
    share = set(two.holder.has)
    await two.crash()
    taker, fence = await town.member("taker", leaving=True)
    raised = await one.store.raise_epoch(two.ownership.fence)
    await taker.forget(raised)
    rows = await taker.shards_of(raised)
    assert share == {row.shard_id for row in rows}
    await town.start("two")
    moves = [Move(row.shard_id, row.owner, row.epoch, "taker") for row in rows]
    assert Moved(held=True, shards=frozenset()) == await taker.move(fence, moves)
    assert [] == await taker.shards_of(raised)
    await taker.forget(raised)
    assert ["one", "taker", "two"] == await town.servers()
    taker.close()


async def test_restart_after_a_takeover_loses_its_shards(town: Town) -> None:
    """The taker's move came first: what the server that is back would adopt is another's."""
    one, two = await town.start("one", "two")
    await two.crash()
    taker, fence = await town.member("one")  # as if the taker were the other server, stopped before its adoption
    before = (await one.store.take_fence("two"), [row for row in await taker.shards() if row.owner == "two"])
    await taker.forget(before[0])
    moves = [Move(row.shard_id, row.owner, row.epoch, "one") for row in before[1]]
    assert len(moves) == len((await taker.move(fence, moves)).shards)
    back, back_fence = await town.member("two")
    adoptions = [Move(row.shard_id, "two", row.epoch, "two") for row in before[1]]
    assert Moved(held=True, shards=frozenset()) == await back.move(back_fence, adoptions)
    taker.close()
    back.close()


async def test_taker_that_stopped_half_way_is_replaced(town: Town) -> None:
    """A dead server whose row is gone already, but who still owns shards, is as dead as before."""
    one, two, three = await town.start("one", "two", "three")
    await two.crash()
    raised = await three.store.raise_epoch(two.ownership.fence)
    taker = await Membership.open(town.dsn, 1, "three")  # the server speaks over its own connection all the time
    await taker.forget(raised)
    taker.close()
    await three.crash()
    assert "two" in await town.owners()
    await town.pass_time(3 * LEASE.total_seconds())
    await town.quiet()
    assert ALL == one.holder.has


async def test_giver_to_a_dead_server_is_waited_for(town: Town) -> None:
    """A shard that is being given to a dead server when it is taken is assigned like its others."""
    one, two = await town.start("one", "two")
    await two.crash()
    raised = await one.store.raise_epoch(two.ownership.fence)
    taker = await Membership.open(town.dsn, 1, "taker")
    async with town.control.transaction():
        await town.control.execute("select from servers where server = 'two' for key share")
        forgetting = asyncio.create_task(taker.forget(raised))
        await until_waiting(town.control, 1)
        shard = min(one.holder.has)
        await town.control.execute("update shards set owner = 'two', epoch = epoch + 1 where shard_id = $1", shard)
    await forgetting
    assert shard in {row.shard_id for row in await taker.shards_of(raised)}
    taker.close()
