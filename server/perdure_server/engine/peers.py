"""Deliveries to the servers that own their targets: the one place where they become bytes, and are read again.

Nothing here is exactly once: a delivery that may have arrived is sent again, and the receiver knows it by its key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_server.engine.inbox import Answer, Inbox, Source
from perdure_server.history.outbox import Delivery

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

PARCEL_BYTES_MAX = 4 * 1024 * 1024
"""Signals that wait together go together up to this; a single delivery goes whatever its size."""


class Peers(Protocol):
    """The other servers."""

    async def deliver(self, shard_id: int, body: bytes) -> bytes:
        """Sends a parcel to the owner of a shard: its answer. Raises `ServiceError` where it could not."""
        ...


class Parcel(Struct, frozen=True):
    """Deliveries of one run to one workflow, in order; more than one are all signals."""

    source: Source
    deliveries: tuple[Delivery, ...]


_parcel = msgspec.json.Decoder(Parcel)
_answers = msgspec.json.Decoder(list[Answer])


class Mail:
    """Sends parcels, and takes those of others."""

    def __init__(self, engine: Engine, inbox: Inbox, peers: Peers | None) -> None:
        self._engine = engine
        self._inbox = inbox
        self._peers = peers

    async def tell(self, shard_id: int, source: Source, deliveries: Sequence[Delivery]) -> list[Answer]:
        """The answers to the first of these deliveries: to all, unless they are too much for one parcel."""
        if self._peers is None:
            raise self._engine.tenures.refusal(shard_id)
        body = encoder.encode(Parcel(source, tuple(deliveries)))
        while len(body) > PARCEL_BYTES_MAX and len(deliveries) > 1:
            deliveries = deliveries[: len(deliveries) // 2]
            body = encoder.encode(Parcel(source, tuple(deliveries)))
        return _answers.decode(await self._peers.deliver(shard_id, body))

    async def take(self, body: bytes) -> bytes:
        """A parcel for a run of ours, taken. Raises `WRONG_OWNER` where it is not, before anything is done."""
        try:
            parcel = _parcel.decode(body)
        except msgspec.DecodeError as error:
            raise ServiceError(Code.MALFORMED_JSON, f"this is no parcel of deliveries: {error}") from None
        if len({delivery.target for delivery in parcel.deliveries}) != 1:
            raise ServiceError(Code.INVALID_ARGUMENT, "a parcel has deliveries to one workflow id")
        self._engine.tenures.check(self._engine.residents.shard_of(*parcel.deliveries[0].target))
        if len(parcel.deliveries) > 1:
            return encoder.encode(await self._inbox.take_signals(parcel.source, parcel.deliveries))
        return encoder.encode([await self._inbox.take(parcel.source, parcel.deliveries[0])])
