"""Rendezvous hashing: stable, even, and moving no more than it must."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from perdure_server.cluster.rendezvous import assignment, owner_of

SHARDS = 64
names = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=6, unique=True)


def test_assignment_never_changes() -> None:
    """Servers of two versions agree: these were drawn once and stay."""
    assert list("aabbcbbaccacccac") == list(assignment(16, ["a", "b", "c"]))


@given(names)
def test_all_at_once_is_one_by_one(servers: list[str]) -> None:
    """Whatever the order of the servers."""
    one_by_one = [owner_of(shard, servers[::-1]) for shard in range(SHARDS)]
    assert one_by_one == list(assignment(SHARDS, servers))


@given(names, st.text(min_size=1, max_size=20))
def test_only_what_goes_to_a_new_server_moves(servers: list[str], new: str) -> None:
    """The others keep the rest, and so it is when it leaves."""
    before, after = assignment(SHARDS, servers), assignment(SHARDS, [*{*servers, new}])
    assert all(now in {was, new} for was, now in zip(before, after, strict=True))


def test_shares_are_about_even() -> None:
    """Nobody of eight has twice its share of 4096 shards."""
    shares = Counter(assignment(4096, [f"server-{n}" for n in range(8)]))
    assert 8 == len(shares)
    assert max(shares.values()) < 640
    assert min(shares.values()) > 384
