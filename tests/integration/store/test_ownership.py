"""Real owners on one Postgres: a live one is waited for, a dead one replaced, a zombie writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeAlias

import asyncpg
import pytest

from perdure_server.cluster.ownership import Ownership, OwnershipOptions, Watch
from perdure_server.store.membership import Membership, Owner, lock_key
from perdure_server.store.port import CommitBatch, Wake
from perdure_server.store.postgres import PostgresStore
from tests.integration.store.rows import NOW, SHARD, append, begin, merge, new_run_id

Control: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
BEAT = timedelta(milliseconds=20)
LEASE = timedelta(milliseconds=400)
SHARDS = 16


class Server:
    """A server process as far as ownership goes: its store, and what it was told."""

    def __init__(self, store: PostgresStore, name: str) -> None:
        self.store = store
        self.waiting: asyncio.Queue[str] = asyncio.Queue()
        self.lost: asyncio.Queue[str] = asyncio.Queue()
        self.options = OwnershipOptions(
            server=name,
            address=f"{name}:7233",
            shards=SHARDS,
            heartbeat_every=BEAT,
            lease=LEASE,
            on_waiting=self.waiting.put_nowait,
            on_lost=self.lost.put_nowait,
        )

    async def acquire(self) -> Ownership:
        return await Ownership.acquire(self.store, self.options)


@asynccontextmanager
async def server(dsn: str, name: str) -> AsyncIterator[Server]:
    async with await PostgresStore.open(dsn) as store:
        yield Server(store, name)


@pytest.fixture(name="dsn")
def database(database_url: str) -> str:
    return database_url


async def die(owner: Ownership) -> None:
    """As if killed: no more heartbeats, the connection gone, nothing given away."""
    await owner._stop_keeping()
    owner._member.close()
    await owner._member.closed.wait()


async def test_first_server_owns_everything(dsn: str, control: Control) -> None:
    """The first server makes the cluster, owns all shards, and knows the offset of Postgres's clock."""
    async with server(dsn, "one") as one, await one.acquire() as owned:
        assert list(range(SHARDS)) == owned.shards
        assert abs(owned.clock_offset) < timedelta(seconds=5)
        assert owned.clock_offset
        assert [("one", SHARDS)] == [
            tuple(row) for row in await control.fetch("select owner, count(*) from shards group by 1")
        ]
        assert ("one:7233",) == tuple(await control.fetchrow("select address from servers") or ())


async def test_number_of_shards_is_fixed(dsn: str) -> None:
    """A later server with another setting gets the cluster's number of shards."""
    async with server(dsn, "one") as one:
        async with await one.acquire():
            pass
        one.options = OwnershipOptions(server="one", address="", shards=4 * SHARDS)
        async with await one.acquire() as owned:
            assert SHARDS == len(owned.shards)


async def test_second_process_of_a_name_waits_and_says_so(dsn: str) -> None:
    """It gets the shards when the first leaves, at a higher epoch."""
    async with server(dsn, "one") as one, server(dsn, "one") as again:
        first = await one.acquire()
        acquiring = asyncio.create_task(again.acquire())
        assert "another process runs as 'one': waiting until it ends" == await again.waiting.get()
        assert not acquiring.done()
        await first.release()
        async with await acquiring as second:
            assert first.fence.epoch < second.fence.epoch
            assert SHARDS == len(second.shards)


async def test_restart_after_a_kill_needs_no_lease(dsn: str) -> None:
    """A killed server's successor of the same name has everything at once, and the old fence is gone."""
    async with server(dsn, "one") as one, server(dsn, "one") as again:
        first = await one.acquire()
        await die(first)
        async with asyncio.timeout(LEASE.total_seconds()), await again.acquire() as second:
            assert SHARDS == len(second.shards)
            assert not await one.store.confirm_fence(first.fence)


async def test_live_server_of_another_name_is_waited_for(dsn: str) -> None:
    """A second server stands by, says for whom, and takes over as soon as the first has left."""
    async with server(dsn, "one") as one, server(dsn, "two") as two:
        first = await one.acquire()
        acquiring = asyncio.create_task(two.acquire())
        assert "server 'one' at one:7233 owns 16 shards: waiting until it leaves, or is silent for 0.4 s" == (
            await two.waiting.get()
        )
        await first.release()
        async with asyncio.timeout(LEASE.total_seconds()), await acquiring as second:
            assert SHARDS == len(second.shards)


async def test_dead_server_is_replaced_after_its_lease(dsn: str) -> None:
    """The shards of a killed server go to the one that stands by, once its fence was raised."""
    async with server(dsn, "one") as one, server(dsn, "two") as two:
        first = await one.acquire()
        await die(first)
        async with await two.acquire() as second:
            assert SHARDS == len(second.shards)
            assert not await one.store.confirm_fence(first.fence)


async def test_zombie_writes_nothing(dsn: str, control: Control) -> None:
    """A server that was only slow finds its fence raised: it commits nothing, is told, and gives nothing away."""
    run, other = new_run_id(), new_run_id()
    async with server(dsn, "one") as one, server(dsn, "two") as two:
        first = await one.acquire()
        await one.store.commit(first.fence, begin(run))
        await first._stop_keeping()  # it stands still, connection and lock and all
        async with await two.acquire() as second:
            batch = merge(
                begin(other, "order-2"),
                CommitBatch(appends=[append(run, 1, 3, 3)], wakes=[Wake(SHARD, run, NOW, owed=True)]),
            )
            assert not (await one.store.commit(first.fence, batch)).fence_held
            await first._keep()  # it comes back to life
            assert "the fence of 'one' was raised: another server has taken over" == first.lost
            assert first.lost == one.lost.get_nowait()
            await first.release()
            assert SHARDS == await control.fetchval("select count(*) from shards where owner = 'two'")
            assert {run} == (await two.store.commit(second.fence, CommitBatch(appends=[append(run, 1, 3, 3)]))).accepted


async def test_successor_of_the_same_name_keeps_its_shards(dsn: str, control: Control) -> None:
    """A zombie that leaves or beats under its old fence changes nothing for the process that has its name now."""
    async with server(dsn, "one") as one, server(dsn, "one") as again:
        first = await one.acquire()
        await die(first)
        async with await again.acquire():
            zombie = await Membership.open(dsn, 1, "one")
            assert not (await zombie.beat(first.fence)).held
            await zombie.release(first.fence)
            zombie.close()
            assert SHARDS == await control.fetchval("select count(*) from shards where owner = 'one'")
            assert 1 == await control.fetchval("select count(*) from servers")


async def test_lock_is_won_again_after_a_lost_connection(dsn: str, control: Control) -> None:
    """A server whose connection was cut goes on under the same fence, with the lock back."""
    async with server(dsn, "one") as one, await one.acquire() as owned:
        lost = owned._member
        await control.execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")
        await lost.closed.wait()
        key = lock_key(1, "one")
        while await control.fetchval("select pg_try_advisory_lock($1)", key):
            await control.execute("select pg_advisory_unlock($1)", key)
        assert await one.store.confirm_fence(owned.fence)
        assert "" == owned.lost


async def test_other_process_took_the_name(dsn: str) -> None:
    """A server whose connection was cut, and whose name another process took meanwhile, is told that all is lost."""
    async with server(dsn, "one") as one, server(dsn, "one") as again:
        first = await one.acquire()
        await die(first)
        async with await again.acquire():
            await first._keep()
            assert "another process runs as 'one' and has taken over" == await one.lost.get()


async def test_standing_by_survives_a_lost_connection(dsn: str, control: Control) -> None:
    """A server that waits goes on waiting on a new connection."""
    async with server(dsn, "one") as one, server(dsn, "two") as two:
        first = await one.acquire()
        acquiring = asyncio.create_task(two.acquire())
        await two.waiting.get()
        await control.execute(
            "select pg_terminate_backend(pid) from pg_locks "
            "where locktype = 'advisory' and (classid::bigint << 32 | objid::bigint) = $1",
            lock_key(1, "two"),
        )
        await first.release()
        async with await acquiring as second:
            assert SHARDS == len(second.shards)


async def test_one_of_two_that_stand_by_gets_everything(dsn: str) -> None:
    """Shards of a dead server are never split between those that wait for them."""
    async with server(dsn, "one") as one, server(dsn, "two") as two, server(dsn, "three") as three:
        await die(await one.acquire())
        waiting = {asyncio.create_task(two.acquire()), asyncio.create_task(three.acquire())}
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        (first,) = [task.result() for task in done]
        assert SHARDS == len(first.shards)
        await first.release()
        async with await pending.pop() as second:
            assert SHARDS == len(second.shards)


async def test_dead_server_that_came_back_keeps_its_shards(dsn: str) -> None:
    """A claim after a raise that was overtaken by the server's own restart takes nothing."""
    async with server(dsn, "one") as one, server(dsn, "two") as two:
        await die(await one.acquire())
        stale = await two.store.take_fence("one")
        fence = await two.store.take_fence("two")
        async with await one.acquire() as back:
            member = await Membership.open(dsn, 1, "two")
            assert [] == await member.claim(fence, [stale])
            assert await one.store.confirm_fence(back.fence)
            member.close()


def beating(beat: int) -> list[Owner]:
    return [Owner(server="one", epoch=1, beat=beat, address="", shards=SHARDS)]


def test_watch_counts_on_our_own_clock() -> None:
    """A server is dead when its heartbeat stood still for the lease, as seen by us."""
    now = [100.0]
    watch = Watch(timedelta(seconds=5), lambda: now[0])
    seen = []
    for second, beat in enumerate([1, 1, 2, 2, 2, 2, 2, 2]):
        now[0] = 100.0 + second
        seen.append([owner.server for owner in watch.look(beating(beat))])
    assert [[], [], [], [], [], [], [], ["one"]] == seen


def test_watch_begins_again_after_a_pause() -> None:
    """If we stood still ourselves, or could not look, nobody is dead for it."""
    now = [100.0]
    watch = Watch(timedelta(seconds=5), lambda: now[0])
    assert [] == watch.look(beating(1))
    now[0] = 160.0
    assert [] == watch.look(beating(1))
    for now[0] in (162.0, 164.0):
        assert [] == watch.look(beating(1))
    watch.forget()
    now[0] = 166.0
    assert [] == watch.look(beating(1))
