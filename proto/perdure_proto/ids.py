"""Identities: how workflows map to shards, how run ids are made, and the names that must not be confused.

Pure: the caller brings time and randomness.
"""

from __future__ import annotations

import hashlib
from typing import NewType

Namespace = NewType("Namespace", str)
WorkflowId = NewType("WorkflowId", str)
RunId = NewType("RunId", str)
ShardId = NewType("ShardId", int)

ID_LENGTH_MAX = 255
"""Longest workflow id, name or other identifier, in characters."""

_RANDOM_BYTES = 10
_VERSION_7 = 0x7000
_VARIANT_RFC_9562 = 0x8000000000000000


def shard_of(namespace: str, workflow_id: str, shards: int) -> ShardId:
    """The shard that owns a workflow id: the first four bytes of a sha256, big-endian, modulo the number of shards.

    >>> shard_of("default", "order-1", 512) == shard_of("default", "order-1", 512)
    True
    """
    digest = hashlib.sha256(f"{namespace}\0{workflow_id}".encode()).digest()
    return ShardId(int.from_bytes(digest[:4], "big") % shards)


def activities_of(namespace: str) -> str:
    """Where the standalone activities of a namespace live: no user can name it. Its id is negative in the store."""
    return f"{namespace}\0activities"


def uuid7(unix_ms: int, random: bytes) -> RunId:
    """A UUID of version 7 (RFC 9562): 48 bits of time in milliseconds, then 74 of the ten random bytes given.

    >>> uuid7(0, bytes(10))
    '00000000-0000-7000-8000-000000000000'
    """
    if len(random) != _RANDOM_BYTES:
        raise ValueError("uuid7 takes ten random bytes")
    high = (unix_ms & 0xFFFFFFFFFFFF) << 16 | _VERSION_7 | int.from_bytes(random[:2], "big") & 0x0FFF
    low = _VARIANT_RFC_9562 | int.from_bytes(random[2:], "big") & 0x3FFFFFFFFFFFFFFF
    text = f"{high << 64 | low:032x}"
    return RunId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
