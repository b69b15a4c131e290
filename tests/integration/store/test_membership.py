"""What one server says to Postgres about itself and its shards: each word depends on its own fence."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from perdure_server.store.membership import Membership, Move, Moved
from perdure_server.store.port import Fence
from perdure_server.store.postgres import PostgresStore

NOTHING = Moved(held=True, shards=frozenset())


@pytest_asyncio.fixture(name="member")
async def _member(database_url: str, fence: Fence) -> AsyncIterator[Membership]:
    """A member that owns shard 0 of 4, and knows another one."""
    member = await Membership.open(database_url, 1, fence.server)
    await member.ensure_shards(4)
    await member.register(fence, "", "")
    await member.move(fence, [Move(0, None, 0, fence.server)])
    yield member
    member.close()


@pytest_asyncio.fixture(name="other")
async def _other(database_url: str, store: PostgresStore) -> AsyncIterator[Membership]:
    other = await Membership.open(database_url, 1, "server-2")
    await other.register(await store.take_fence("server-2"), "", "")
    yield other
    other.close()


async def test_move_by_compare_and_set(member: Membership, other: Membership, fence: Fence) -> None:
    """Only from the owner and the epoch that were seen, and every move raises the epoch."""
    for wrong in (Move(0, None, 1, "server-2"), Move(0, "server-1", 0, "server-2"), Move(0, "server-2", 1, "server-2")):
        assert NOTHING == await member.move(fence, [wrong])
    moves = [Move(0, "server-1", 1, "server-2"), Move(1, None, 0, "server-1"), Move(2, None, 5, "server-1")]
    assert Moved(held=True, shards=frozenset({0, 1})) == await member.move(fence, moves)
    assert [("server-2", 2), ("server-1", 1), (None, 0), (None, 0)] == [
        (row.owner, row.epoch) for row in await other.shards()
    ]


async def test_move_depends_on_the_own_fence(member: Membership, fence: Fence, store: PostgresStore) -> None:
    """A server whose fence was raised moves nothing, and is told."""
    await store.take_fence(fence.server)
    assert Moved(held=False, shards=frozenset()) == await member.move(fence, [Move(0, "server-1", 1, None)])
    assert "server-1" == (await member.shards())[0].owner


async def test_move_needs_a_target_that_is_a_member(member: Membership, fence: Fence) -> None:
    """A server without a row gets nothing."""
    assert NOTHING == await member.move(fence, [Move(0, "server-1", 1, "server-2")])


async def test_changes_tell_of_every_move(member: Membership, other: Membership, fence: Fence) -> None:
    """The heartbeat says another number after each move, and the same when nothing has moved."""
    seen = [(await member.beat(fence)).changes for _ in range(2)]
    await member.move(fence, [Move(0, "server-1", 1, "server-2")])
    seen.append((await member.beat(fence)).changes)
    assert [1, 1, 2] == seen


async def test_beat_shows_the_others(member: Membership, other: Membership, fence: Fence) -> None:
    """Members with their fences and beats, and owners that have no row as silent ones."""
    await member.forget(Fence(1, "server-2", 1))
    beat = await member.beat(fence, ["server-2"])
    assert [("server-1", 1, 1, False), ("server-2", 1, 0, False)] == [
        (row.server, row.epoch, row.beat, row.beaten) for row in beat.members
    ]
    assert [True] == [row.beaten for row in (await member.beat(fence)).members]


async def test_registering_begins_anew(member: Membership, fence: Fence) -> None:
    """A server that comes back has not beaten yet, and leaves no more."""
    await member.beat(fence)
    await member.mark_leaving(fence)
    (leaving,) = (await member.beat(fence)).members
    await member.register(fence, "http://new", "2")
    (back,) = (await member.beat(fence)).members
    assert (True, True) == (leaving.leaving, leaving.beaten)
    assert (False, False, "http://new") == (back.leaving, back.beaten, back.address)
    assert leaving.beat < back.beat
