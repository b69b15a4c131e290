"""What servers say to each other about rates: one request for all of which the receiver is the home, one answer."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from perdure_server.rates.homes import RateKey

KEYS_TOGETHER_MAX = 10_000
"""So many rates go in one request; a server that has more limited queues keeps its shares of the others as they are."""


class Ask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server asks for its share: what it `held` a second until now, and how much it could use."""

    key: RateKey
    limit: float
    named_at: float = 0.0
    held: float = 0.0
    demand: float = 0.0


class Grant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The share, a second. One that is not `settled` is less than is due, or was lowered: ask again soon."""

    share: float
    limit: float
    named_at: float = 0.0
    settled: bool = True


class RatesRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From one server to the home of these rates: asked for, `released` for good, or, by the home, `enquired` about."""

    server: str
    asks: tuple[Ask, ...] = ()
    released: tuple[RateKey, ...] = ()
    enquired: tuple[RateKey, ...] = ()


class RatesAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A grant for each ask, and for each key enquired about what the receiver holds of it."""

    grants: tuple[Grant, ...] = ()
    held: tuple[float, ...] = ()


request_decoder = msgspec.json.Decoder(RatesRequest)
answer_decoder = msgspec.json.Decoder(RatesAnswer)
