"""Tokens of waitpoints: signed names of one waiting place in one run, made by the worker and checked by the server.

Pure: both derive the same key from the secret of the cluster, so a token is as good on the server as if it had made it,
and nothing of a waitpoint is written before it is completed. `docs/adr/0010-waitpoint-tokens.md` has the reasons.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

SIGNAL_PREFIX: Final = "__waitpoint/"
"""How the signals begin that complete waitpoints; nobody else sends signals of such names."""

QUERY: Final = "__waitpoints"
"""The query that every workflow answers with its pending waitpoints."""

NAME_BYTES_MAX: Final = 128
"""Longest name in UTF-8: the token then fits where an id does."""

_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BII16sIQ")
_SEAL_BYTES: Final = 16


class WaitpointToken(Struct, frozen=True, kw_only=True):
    """What a token says. `number` counts the waitpoints of a name in a run, `expires_at_ms` is 0 for never."""

    namespace_id: int
    shard_id: int
    run_id: str
    number: int
    expires_at_ms: int = 0
    name: str

    @property
    def signal_name(self) -> str:
        """The signal that completes the waitpoint."""
        return signal_name(self.name, self.number)


class PendingWaitpoint(Struct, frozen=True, kw_only=True):
    """A waitpoint that nobody has completed, as its workflow tells it. `expires_at` is None for never."""

    name: str
    number: int
    expires_at: datetime | None = None
    token: str
    url: str


def signal_name(name: str, number: int) -> str:
    """The signal that completes the waitpoint of a name and number."""
    return f"{SIGNAL_PREFIX}{number}/{name}"


def key_of(secret: bytes, namespace: str) -> bytes:
    """The key of a namespace's waitpoints: a worker there can make its tokens and those of no other namespace."""
    return hmac.digest(secret, f"waitpoints of {namespace}".encode(), hashlib.sha256)


def sealed(token: WaitpointToken, key: bytes) -> str:
    """The token as text, for a URL.

    >>> token = WaitpointToken(namespace_id=1, shard_id=7, run_id=str(UUID(int=5)), number=1, name="approval")
    >>> opened(sealed(token, b"key"), lambda _: b"key") == token
    True
    >>> opened(sealed(token, b"another key"), lambda _: b"key") is None
    True
    """
    run = UUID(token.run_id).bytes
    head = _HEAD.pack(_VERSION, token.namespace_id, token.shard_id, run, token.number, token.expires_at_ms)
    told = head + token.name.encode()
    return urlsafe_b64encode(_seal(told, key) + told).rstrip(b"=").decode()


def opened(text: str, find_key: Callable[[int], bytes | None]) -> WaitpointToken | None:
    """What a token says, or None: it was not made with the key of its namespace, or not in this very form.

    `find_key` gives the key of a namespace by its number.
    """
    try:
        data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        seal, told = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        version, namespace_id, shard_id, run, number, expires_at_ms = _HEAD.unpack_from(told)
        name = told[_HEAD.size :].decode()
    except (ValueError, struct.error, binascii.Error):
        return None
    key = find_key(namespace_id) if version == _VERSION else None
    if key is None or not hmac.compare_digest(seal, _seal(told, key)):
        return None
    token = WaitpointToken(
        namespace_id=namespace_id,
        shard_id=shard_id,
        run_id=str(UUID(bytes=run)),
        number=number,
        expires_at_ms=expires_at_ms,
        name=name,
    )
    # Base64 has several texts for the same bytes. The text is the request id: another one would be used twice.
    return token if sealed(token, key) == text else None


def _seal(told: bytes, key: bytes) -> bytes:
    return hmac.digest(key, told, hashlib.sha256)[:_SEAL_BYTES]
