"""What a server does about what it sees."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hypothesis import given
from hypothesis import strategies as st

from perdure_server.cluster.plan import View, adoptions, bequests, claims, gifts, partings
from perdure_server.cluster.rendezvous import assignment
from perdure_server.store.membership import Move, ShardRow

SHARDS = 12
NAMES = ["one", "two", "three"]
tables = st.lists(st.sampled_from([None, *NAMES]), min_size=SHARDS, max_size=SHARDS)


def view(owners: Sequence[str | None], counted: Sequence[str] = NAMES, steady: Collection[str] | None = None) -> View:
    others = set(counted) - {"one"} if steady is None else steady
    return View("one", owners, [7] * len(owners), sorted(counted), others)


def test_adoptions_are_what_nobody_works_on() -> None:
    """Rows that say that they are ours and that we do not know are moved to ourselves."""
    assert [Move(2, "one", 7, "one")] == adoptions(view(["one", "two", "one", None]), {0})


def test_leaving_server_claims_nothing() -> None:
    """What is free goes to those who count."""
    assert [] == claims(view([None] * SHARDS, ["two"]))


@given(tables)
def test_each_step_ends_where_the_hash_says(owners: list[str | None]) -> None:
    """After all have claimed and given, everything has the owner that the hash names."""
    table = list(owners)
    for name in NAMES:
        seen = View(name, table, [7] * SHARDS, sorted(NAMES), set(NAMES) - {name})
        held = {move.shard_id for move in adoptions(seen, ())}
        for move in claims(seen) + gifts(seen, held, SHARDS):
            assert table[move.shard_id] == move.owner
            table[move.shard_id] = move.new_owner
    assert list(assignment(SHARDS, NAMES)) == table


def test_silent_server_is_given_nothing() -> None:
    """What it should have stays where it is, and nobody else gets it either."""
    wanted = assignment(SHARDS, NAMES)
    given_away = gifts(view(["one"] * SHARDS, steady={"three"}), set(range(SHARDS)), SHARDS)
    assert [shard for shard in range(SHARDS) if wanted[shard] == "three"] == [move.shard_id for move in given_away]
    assert {"three"} == {move.new_owner for move in given_away}


def test_silent_server_inherits_nothing() -> None:
    """The dead's shards go to those who are heard."""
    rows = [ShardRow(shard, "four", 3) for shard in range(SHARDS)]
    heirs = {move.new_owner for move in bequests(view(["four"] * SHARDS, steady={"three"}), rows)}
    assert {"one", "three"} == heirs


def test_gifts_come_in_portions() -> None:
    """No more than so many at a time."""
    assert 2 == len(gifts(view(["one"] * SHARDS), set(range(SHARDS)), 2))


def test_parting_gives_all_to_the_others() -> None:
    """And frees it if there are none who are heard."""
    left = view(["one"] * SHARDS, ["two", "three"])
    assert list(assignment(SHARDS, ["two", "three"])) == [move.new_owner for move in partings(left, SHARDS)]
    assert [None] * SHARDS == [move.new_owner for move in partings(view(["one"] * SHARDS, ["two"], set()), 1)]
