"""Rendezvous hashing of rates: which server gives the others their shares of one. Pure.

Never change how a number is drawn: servers of two versions would each think themselves at home.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Literal, NamedTuple

RateKind = Literal["activity", "requests"]


class RateKey(NamedTuple):
    """Of which task queue and what kind of task the rate is; of requests to a namespace there is no `name`."""

    namespace: str
    name: str
    kind: RateKind


def home_of(key: RateKey, servers: Collection[str]) -> str:
    """The server that is home to the rate, whatever the order of `servers`, of which there is at least one."""
    return max(servers, key=lambda server: (weight(key, server), server))


def weight(key: RateKey, server: str) -> int:
    """The number that a server draws: eight bytes of blake2b of its name and the parts of the key, zeros between."""
    drawn = hashlib.blake2b("\0".join((server, *key)).encode(), digest_size=8)
    return int.from_bytes(drawn.digest(), "big")
