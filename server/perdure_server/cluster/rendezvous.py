"""Rendezvous hashing: which server is to own a shard. Pure.

Each server draws a number for each shard, and the highest wins: when a server comes or goes only its own shards move.
Never change how a number is drawn: servers of two versions would give each other the same shards for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

WEIGHTS_CACHED_MAX = 64
ASSIGNMENTS_CACHED_MAX = 16


def owner_of(shard_id: int, servers: Sequence[str]) -> str:
    """The server that is to own the shard, whatever the order of `servers`, of which there is at least one."""
    return max(servers, key=lambda server: (weight(shard_id, server), server))


def assignment(shards: int, servers: Sequence[str]) -> Sequence[str]:
    """The same for the shards 0 to `shards` - 1."""
    return _assignment(shards, tuple(sorted(servers)))


def weight(shard_id: int, server: str) -> int:
    """The number that a server draws for a shard: eight bytes of blake2b of its name, a zero byte, and the shard."""
    drawn = hashlib.blake2b(server.encode() + b"\0" + shard_id.to_bytes(4, "big"), digest_size=8)
    return int.from_bytes(drawn.digest(), "big")


@lru_cache(ASSIGNMENTS_CACHED_MAX)
def _assignment(shards: int, servers: tuple[str, ...]) -> tuple[str, ...]:
    columns = [_weights(shards, server) for server in servers]
    return tuple(max(zip(draws, servers, strict=True))[1] for draws in zip(*columns, strict=True))


@lru_cache(WEIGHTS_CACHED_MAX)
def _weights(shards: int, server: str) -> tuple[int, ...]:
    return tuple(weight(shard_id, server) for shard_id in range(shards))
