"""Shards and run ids."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_proto.ids import shard_of, uuid7

RANDOM = bytes(range(1, 11))
UNIX_MS_MAX = 2**48 - 1


@pytest.mark.parametrize(
    ("namespace", "workflow_id", "shards", "expected"),
    [
        ("default", "order-1", 512, 354),
        ("default", "order-1", 7, 3),
        ("", "", 512, 412),
        ("größe", "\N{SNOWMAN}/1", 4096, 2812),
    ],
)
def test_known_shards(namespace: str, workflow_id: str, shards: int, expected: int) -> None:
    """A workflow id keeps its shard for ever: these were computed apart from this code, with a shell's sha256sum."""
    assert expected == shard_of(namespace, workflow_id, shards)


def test_namespace_and_id_are_kept_apart() -> None:
    """Where the namespace ends counts: the same letters divided otherwise are another workflow."""
    assert shard_of("a", "bc", 2**32) != shard_of("ab", "c", 2**32)


@given(st.text(max_size=20), st.text(max_size=20), st.integers(min_value=1, max_value=8192))
def test_a_shard_is_within_the_number_of_shards(namespace: str, workflow_id: str, shards: int) -> None:
    """Every id has a shard from 0 to one less than their number."""
    assert 0 <= shard_of(namespace, workflow_id, shards) < shards


def test_the_example_of_the_rfc() -> None:
    """RFC 9562, appendix A.6: the same time and random bits make the same UUID."""
    random = (0xCC3).to_bytes(2, "big") + (0x18C4DC0C0C07398F).to_bytes(8, "big")

    assert "017f22e2-79b0-7cc3-98c4-dc0c0c07398f" == uuid7(0x017F22E279B0, random)


@given(st.integers(min_value=0, max_value=UNIX_MS_MAX), st.binary(min_size=10, max_size=10))
def test_version_and_variant(unix_ms: int, random: bytes) -> None:
    """Whatever the time and the chance, it is a UUID of version 7 that begins with the time."""
    made = uuid.UUID(uuid7(unix_ms, random))

    assert (7, uuid.RFC_4122) == (made.version, made.variant)
    assert unix_ms == made.int >> 80
    assert str(made) == uuid7(unix_ms, random)


@given(
    st.integers(min_value=0, max_value=UNIX_MS_MAX - 1),
    st.binary(min_size=10, max_size=10),
    st.binary(min_size=10, max_size=10),
)
def test_later_ids_sort_later(unix_ms: int, earlier: bytes, later: bytes) -> None:
    """Ids of different milliseconds sort by time, whatever the chance."""
    assert uuid7(unix_ms, earlier) < uuid7(unix_ms + 1, later)


def test_different_chance_makes_different_ids() -> None:
    """All 74 bits of chance that an id can hold are in it."""
    ids = {uuid7(0, (1 << bit).to_bytes(10, "big")) for bit in range(80)}

    # Six bits of the eighty are overwritten by version and variant; those all give the id of no chance.
    assert 74 + 1 == len(ids)


@pytest.mark.parametrize("length", [0, 9, 11])
def test_the_number_of_random_bytes(length: int) -> None:
    """Fewer or more than ten random bytes are a mistake of the caller."""
    with pytest.raises(ValueError, match="ten random bytes"):
        uuid7(0, bytes(length))
