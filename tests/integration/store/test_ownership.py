"""Servers that come, go and die on one Postgres: each has its share, and nobody has what another works on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from perdure_server.cluster.ownership import Ownership
from perdure_server.embedded import EmbeddedPostgres
from perdure_server.store.membership import Membership, lock_key
from perdure_server.store.migrate import migrate
from tests.integration.store.members import ALL, LEASE, SHARDS, Town, town_on
from tests.postgres import FORGETFUL, scratch_folder

CUT = (
    "select pg_terminate_backend(pid) from pg_locks "
    "where locktype = 'advisory' and (classid::bigint << 32 | objid::bigint) = $1"
)


async def test_server_alone_owns_everything(town: Town) -> None:
    """The first server makes the cluster and has all shards at once, without waiting for a heartbeat."""
    one = await town.node("one")
    one.options = msgspec.structs.replace(one.options, heartbeat_every=timedelta(hours=1))
    await one.start()
    await town.quiet()
    assert [ALL] == one.holder.gained
    (member,) = one.ownership.map.members.values()
    assert ("one", "http://one:7233", "1", False, SHARDS) == msgspec.structs.astuple(member)
    assert ["http://one:7233"] * SHARDS == [one.ownership.map.address_of(shard) for shard in range(SHARDS)]


async def test_number_of_shards_is_fixed(town: Town) -> None:
    """A later server with another setting gets the cluster's number of shards."""
    await town.start("one")
    two = await town.node("two")
    two.options = msgspec.structs.replace(two.options, shards=4 * SHARDS)
    await two.start()
    await town.quiet()
    assert SHARDS == len(two.ownership.map.owners)


async def test_others_take_their_share(town: Town) -> None:
    """A second and a third server get what the hash names theirs, and nothing else moves."""
    one, two = await town.start("one", "two")
    assert town.share_of("two", ["one", "two"]) == one.holder.given_away
    (three,) = await town.start("three")
    assert town.share_of("two", ["one", "two"]) - two.holder.has == two.holder.given_away
    assert one.holder.given_away | two.holder.given_away == two.holder.has | three.holder.has
    assert 1 == len(one.holder.gained)


async def test_server_that_leaves_gives_everything(town: Town) -> None:
    """Its shards go straight to their new owners, its row goes, and nobody waits for a lease."""
    one, two, three = await town.start("one", "two", "three")
    await two.leave()
    await town.quiet()
    assert ["one", "three"] == await town.servers()
    assert not two.holder.has | two.holder.draining
    assert town.share_of("two", ["one", "two", "three"]) <= one.holder.has | three.holder.has


async def test_last_server_that_leaves_frees_everything(town: Town) -> None:
    """The next one, whoever it is, has all shards at once."""
    (one,) = await town.start("one")
    await one.leave()
    assert [None] * SHARDS == await town.owners()
    assert [] == await town.servers()
    await town.start("two")


async def test_heartbeat_after_the_leave_brings_nothing_back(town: Town) -> None:
    """A server beats until it ends: once its row is gone it does not register again."""
    (one,) = await town.start("one")
    await one.ownership._stop_work()
    one.presence.is_leaving = True
    assert await one.ownership._leave_if_empty(one.holder)
    await one.look()
    assert [] == await town.servers()


async def test_leaving_server_is_left_out_at_once(town: Town) -> None:
    """While it still drains nobody gives it anything, and what it is given nevertheless it passes on."""
    one, two = await town.start("one", "two")
    two.holder.hold()
    leaving = asyncio.create_task(two.leave())
    await two.holder.asked_to_drain.wait()
    await one.look()
    assert one.ownership.map.members["two"].leaving
    assert ["one"] == one.presence.view().counted
    shard = min(one.holder.has)
    one.holder.has.remove(shard)
    one.ownership._holdings.held.remove(shard)
    await town.control.execute("update shards set owner = 'two', epoch = epoch + 1 where shard_id = $1", shard)
    two.holder.may_drain.set()
    await leaving
    await town.quiet()
    assert ALL == one.holder.has


async def test_second_process_of_a_name_waits_and_says_so(town: Town) -> None:
    """It gets the shards when the first leaves, at a higher epoch."""
    (one,) = await town.start("one")
    again = await town.node("one")
    starting = asyncio.create_task(again.start())
    assert "another process runs as 'one': waiting until it ends" == await again.waiting.get()
    assert not starting.done()
    await one.leave()
    await starting
    await town.quiet()
    assert one.ownership.fence.epoch < again.ownership.fence.epoch


async def test_restart_after_a_kill_needs_no_lease(town: Town) -> None:
    """A killed server's successor of the same name adopts its shards, and no other moves."""
    one, two = await town.start("one", "two")
    had = set(two.holder.has)
    await two.crash()
    (again,) = await town.start("two")
    assert [had] == again.holder.gained
    assert not await two.store.confirm_fence(two.ownership.fence)
    assert 2 == len(one.holder.gained) + len(again.holder.gained)


async def test_successor_of_the_same_name_keeps_its_shards(town: Town) -> None:
    """A zombie that beats or leaves under its old fence changes nothing for the process that has its name now."""
    (one,) = await town.start("one")
    await one.crash()
    old = one.ownership.fence
    (again,) = await town.start("one")
    zombie = await Membership.open(town.dsn, 1, "one")
    assert not (await zombie.beat(old)).held
    assert not await zombie.mark_leaving(old)
    await zombie.forget(old)
    assert not await zombie.register(old, "", "")
    zombie.close()
    assert ["one"] == await town.servers()
    await again.look()
    assert "" == again.ownership.lost


async def test_lock_is_won_again_after_a_lost_connection(town: Town) -> None:
    """A server whose connection was cut goes on under the same fence, with its shards, and with the lock back."""
    (one,) = await town.start("one")
    await town.control.execute(CUT, lock_key(1, "one"))
    await one.away.get()
    await one.back.get()
    await one.look()
    assert not await town.control.fetchval("select pg_try_advisory_lock($1)", lock_key(1, "one"))
    assert ("", [ALL]) == (one.ownership.lost, one.holder.gained)


async def test_server_beats_on_while_its_old_connection_has_the_lock(town: Town) -> None:
    """A connection that Postgres does not know to be dead holds the lock: the fence says that we live."""
    one, two = await town.start("one", "two")
    await one.freeze()
    lock = one.presence._member._connection  # nobody closes it
    one.presence._adopt(await Membership.open(town.dsn, 1, "one"))
    one.thaw()
    await town.pass_time(2 * LEASE.total_seconds())
    await town.quiet()
    assert {"one", "two"} == set(two.ownership.map.members)
    lock.terminate()
    await town.until(lambda: one.presence._is_locked)


async def test_other_process_took_the_name(town: Town) -> None:
    """A server whose connection was cut, and whose name another process took meanwhile, is told that all is lost."""
    (one,) = await town.start("one")
    await one.freeze()
    one.presence._member.close()
    again = await (await town.node("one")).start()
    one.thaw()
    assert "another process runs as 'one', or another server has taken over" == await one.lost.get()
    await one.running
    await town.quiet()
    assert ALL == again.holder.has


async def test_lost_connection_while_registering(town: Town) -> None:
    """A server that waits for its name goes on waiting on a new connection."""
    (one,) = await town.start("one")
    again = await town.node("one")
    starting = asyncio.create_task(again.start())
    await again.waiting.get()
    await town.control.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_try_advisory_lock%' "
        "and pid not in (select pid from pg_locks where locktype = 'advisory') and pid <> pg_backend_pid()"
    )
    await one.leave()
    await starting
    await town.quiet()


async def test_row_that_an_operator_took_away(town: Town) -> None:
    """A server whose row is gone although it holds its fence writes it again."""
    one, two = await town.start("one", "two")
    await one.freeze()
    await town.control.execute("delete from servers where server = 'one'")
    await town.until(lambda: "one" not in two.ownership.map.members)
    one.thaw()
    await one.look()
    await town.quiet()
    assert ["one", "two"] == await town.servers()


async def test_idle_cluster_reads_no_shards(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat is one statement; the rows of the shards are read only after one of them has changed."""
    reads: list[str] = []
    read = Membership.shards

    async def noted(self: Membership) -> object:
        reads.append(self._server)
        return await read(self)

    one, two = await town.start("one", "two")
    await one.look()  # it may not have seen yet that the other has adopted what it got
    monkeypatch.setattr(Membership, "shards", noted)
    for _ in range(5):
        await one.look()
        await two.look()
    assert [] == reads
    await town.control.execute("update shards set epoch = epoch + 1 where shard_id = 0")
    await one.look()
    assert "one" in reads


async def test_map_tells_of_changes(town: Town) -> None:
    """Whoever waits hears that a server has come, and nothing while nothing happens."""
    (one,) = await town.start("one")
    assert not await one.ownership.map.changed(0.05)
    waiting = asyncio.create_task(one.ownership.map.changed(30))
    await town.start("two")
    assert await waiting


async def test_nudge_is_enough(town: Town) -> None:
    """Servers that look only when they are nudged hand over, and take over from one that leaves, at once."""
    rare = timedelta(hours=1)
    one, two = await town.node("one"), await town.node("two")
    for node in (one, two):
        node.options = msgspec.structs.replace(node.options, heartbeat_every=rare, lease=rare)
        await node.start()
    await town.quiet()
    await two.leave()
    await town.quiet()
    assert {"one"} in town.nudges


async def test_clocks_off_by_minutes_change_nothing(town: Town) -> None:
    """Neither wall clocks nor monotonic ones need to agree; each server measures how far Postgres's is from its own."""
    one, two = await town.node("one"), await town.node("two")
    one.options = msgspec.structs.replace(
        one.options,
        wall_clock=lambda: datetime.now(UTC) + timedelta(minutes=7),
        monotonic=lambda: town.now + 420,
    )
    for node in (one, two):
        await node.start()
    await town.quiet()
    gained = [*one.holder.gained, *two.holder.gained]
    await town.pass_time(3 * LEASE.total_seconds())
    await town.quiet()
    assert gained == [*one.holder.gained, *two.holder.gained]
    off = one.ownership.clock_offset - two.ownership.clock_offset
    assert abs(off + timedelta(minutes=7)) < timedelta(seconds=5)


async def test_a_clock_that_is_set_is_measured_anew(town: Town) -> None:
    """The next heartbeat finds by how much cluster time has moved, and says so to who waits for it."""
    one = await town.node("one")
    ahead = timedelta(0)
    moved = asyncio.Event()
    one.options = msgspec.structs.replace(
        one.options, wall_clock=lambda: datetime.now(UTC) + ahead, on_clock_moved=moved.set
    )
    await one.start()
    before = one.ownership.clock_offset
    moved.clear()
    ahead = timedelta(minutes=-7)
    async with asyncio.timeout(10):
        await moved.wait()
    assert abs(one.ownership.clock_offset - before - timedelta(minutes=7)) < timedelta(seconds=5)


async def test_outage_of_postgres_kills_nobody() -> None:
    """However long Postgres was away, everybody goes on with what it had."""
    with scratch_folder() as folder:
        postgres = EmbeddedPostgres(folder / "data", settings=FORGETFUL)
        dsn = await postgres.start()
        try:
            await migrate(dsn)
            async with town_on(dsn) as town:
                one, two = await town.start("one", "two")
                gained = [*one.holder.gained, *two.holder.gained]
                await postgres.stop()
                for node in (one, two):
                    await node.away.get()
                town.now += 10 * LEASE.total_seconds()
                assert dsn == await postgres.start()
                for node in (one, two):
                    await node.back.get()
                await asyncio.gather(one.look(), two.look())
                assert ("", "") == (one.ownership.lost, two.ownership.lost)
                assert gained == [*one.holder.gained, *two.holder.gained]
                assert town.is_quiet()
        finally:
            await postgres.stop()


async def test_context_closes(town: Town) -> None:
    """Leaving the context is like being killed: the lock is free, and the shards are still the server's."""
    one = await town.node("one")
    async with await Ownership.acquire(one.store, one.options) as owned:
        running = asyncio.create_task(owned.run(one.holder))
        await owned.map.changed(10)
    await running
    assert ["one"] * SHARDS == await town.owners()
    await town.start("one")


async def test_who_has_ended_is_not_cut_off_later(town: Town) -> None:
    """A heartbeat that was under way when it ended counts for nobody: a process of the same name may be at work."""
    (one,) = await town.start("one")
    async with one.presence._speaking:
        ending = asyncio.create_task(one.presence.end())
        await asyncio.sleep(0)
        one.presence._heard(asyncio.get_running_loop().time())
    await ending
    is_forgotten = one.presence._until_cut_off.cancelled()
    one.is_up = False
    await one.ownership.close()
    assert is_forgotten
