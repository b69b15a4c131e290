"""The shares of this server, asked for each second: one request to each home for all its rates, and the answers.

Alone nothing is asked and every limit is ours. If a home is silent we go on with the last share; if it lives and is
silent for `patience`, each takes at least an equal part, so that nothing stands still for ever. It must not know what
leaves at a rate, nor HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

import msgspec
import structlog

from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_server.matching.rate import Rate
from perdure_server.rates.homes import RateKey, home_of
from perdure_server.rates.messages import (
    KEYS_TOGETHER_MAX,
    Ask,
    Grant,
    RatesAnswer,
    RatesRequest,
    answer_decoder,
    request_decoder,
)
from perdure_server.rates.table import Table
from perdure_server.store.port import StoreUnavailableError

LEASE_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 10.0
UNSETTLED_SECONDS = 0.2
"""How soon to ask again while shares move."""

log = structlog.get_logger(__name__)


class Limited(NamedTuple):
    """A rate that holds for all servers, and how much waits here for it."""

    key: RateKey
    rate: Rate
    backlog: int


class Neighbours(Protocol):
    """The servers that live, as this one sees them."""

    def names(self) -> Sequence[str]:
        """All of them, this one too."""
        ...

    def staying(self) -> Sequence[str]:
        """Those that are not about to leave."""
        ...

    async def ask_rates(self, server: str, body: bytes) -> bytes:
        """Asks one of them, for a second at most. Raises `ServiceError`."""
        ...


class RoundsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are, what is limited here, the clock, and for how long a home may be silent."""

    server: str
    limited: Callable[[], Iterable[Limited]]
    look_again: Callable[[], Awaitable[object]]
    """Reads the namespaces: another server may have changed one, and not reached us."""
    clock: Callable[[], float]
    wake: Callable[[float], Awaitable[object]] = asyncio.sleep
    patience: float = 10.0


class Rounds:
    """Asks as one server, and answers as the home of others."""

    def __init__(self, neighbours: Neighbours, options: RoundsOptions) -> None:
        self._neighbours = neighbours
        self._options = options
        self._table = Table(options.server)
        self._asked: dict[RateKey, str] = {}
        """Which home was asked last for what we hold."""
        self._silent_since: dict[str, float] = {}
        self._news = asyncio.Event()
        self._look_at = options.clock() + LOOK_AGAIN_SECONDS

    @property
    def is_alone(self) -> bool:
        """Whether nobody else lives, as far as we can say."""
        return len(self._neighbours.names()) <= 1

    def look(self) -> None:
        """There is something new to ask for."""
        self._news.set()

    async def run(self) -> None:
        """Round after round, until cancelled."""
        while True:
            self._news.clear()
            try:
                settled = await self.round()
            except Exception:  # shares stay as they are
                log.exception("rates_round_failed")
                settled = True
            await self._options.wake(UNSETTLED_SECONDS)  # however much is new
            if settled:
                await self._until_next()

    async def _until_next(self) -> None:
        waiting = {asyncio.ensure_future(self._options.wake(LEASE_SECONDS)), asyncio.create_task(self._news.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    async def round(self) -> bool:
        """Asks all homes. Returns whether every share is what is due."""
        limited = list(islice(self._options.limited(), KEYS_TOGETHER_MAX))
        if self.is_alone:
            self._take_all(limited)
            return True
        await self._look_again()
        by_home = self._by_home(limited)
        answers = await asyncio.gather(
            *[self._asked_of(home, found, released) for home, (found, released) in by_home.items()]
        )
        return all(answers)

    async def answer(self, body: bytes) -> bytes:
        """What another server asks us. Raises `ServiceError`."""
        try:
            request = request_decoder.decode(body)
        except msgspec.DecodeError as error:
            raise ServiceError(Code.MALFORMED_JSON, f"this is no request for rates: {error}") from None
        here = {limited.key: limited for limited in self._options.limited()} if request.enquired or request.asks else {}
        for key in request.released:
            self._table.release(request.server, key)
        grants: tuple[Grant, ...] = ()
        if request.asks:
            grants = await self._granted(request.server, request.asks, here)
        held = tuple(here[key].rate.per_second if key in here else 0.0 for key in request.enquired)
        return encoder.encode(RatesAnswer(grants=grants, held=held))

    async def _look_again(self) -> None:
        now = self._options.clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_AGAIN_SECONDS
            try:
                await self._options.look_again()
            except StoreUnavailableError as error:
                log.info("namespaces_not_read", reason=str(error))

    def _take_all(self, limited: Sequence[Limited]) -> None:
        self._table.keep((), ())
        self._asked.clear()
        self._silent_since.clear()
        for each in limited:
            if each.rate.per_second != each.rate.limit:
                each.rate.share(each.rate.limit, self._options.clock())

    def _by_home(self, limited: Sequence[Limited]) -> dict[str, tuple[list[Limited], list[RateKey]]]:
        """What to ask of whom, and what to give back there."""
        names, own = self._neighbours.names(), self._options.server
        staying = self._neighbours.staying() or names
        by_home: dict[str, tuple[list[Limited], list[RateKey]]] = {}
        for each in limited:
            by_home.setdefault(home_of(each.key, staying), ([], []))[0].append(each)
        for key in self._asked.keys() - {each.key for each in limited}:
            home = self._asked[key]
            if home in names:
                by_home.setdefault(home, ([], []))[1].append(key)
            else:
                del self._asked[key]
        self._table.keep(names, {key for key in self._table.keys if home_of(key, staying) == own})
        for home in self._silent_since.keys() - set(names):
            del self._silent_since[home]
        return by_home

    async def _asked_of(self, home: str, limited: Sequence[Limited], released: Sequence[RateKey]) -> bool:
        """Whether all that this home gave is what is due."""
        now = self._options.clock()
        asks = tuple(ask_of(each, now) for each in limited)
        try:
            grants = await self._grants(home, asks, released)
        except ServiceError as error:
            log.info("rates_not_leased", home=home, reason=error.message)
            self._do_without(home, limited)
            return True
        self._silent_since.pop(home, None)
        for key in released:
            self._asked.pop(key, None)
        for each, grant in zip(limited, grants, strict=True):
            self._asked[each.key] = home
            self._take(each.rate, grant)
        return all(grant.settled for grant in grants)

    async def _grants(self, home: str, asks: tuple[Ask, ...], released: Sequence[RateKey]) -> Sequence[Grant]:
        own = self._options.server
        if home == own:
            for key in released:
                self._table.release(own, key)
            await self._expect(asks)
            return [self._table.lease(own, ask, self._options.clock()) for ask in asks]
        request = RatesRequest(server=own, asks=asks, released=tuple(released))
        answer = await self._asked_for(home, request)
        if len(answer.grants) != len(asks):
            raise ServiceError(Code.INTERNAL, f"{home} answered {len(answer.grants)} of {len(asks)} requests for rates")
        return answer.grants

    def _take(self, rate: Rate, grant: Grant) -> None:
        if grant.named_at > rate.named_at:
            rate.change_limit(grant.limit)
            rate.named_at = grant.named_at
        rate.share(grant.share, self._options.clock())

    def _do_without(self, home: str, limited: Sequence[Limited]) -> None:
        """The last share; after a while at least an equal part."""
        now = self._options.clock()
        if now - self._silent_since.setdefault(home, now) < self._options.patience:
            return
        count = len(self._neighbours.names())
        for each in limited:
            each.rate.share(max(each.rate.per_second, each.rate.limit / count), now)

    async def _granted(self, server: str, asks: tuple[Ask, ...], here: dict[RateKey, Limited]) -> tuple[Grant, ...]:
        """As their home: shares for another. What it holds we confirm, and no more, while we do not see it live."""
        if server not in self._neighbours.names():
            return tuple(_confirmed(ask) for ask in asks)
        now = self._options.clock()
        await self._expect(asks)
        if server not in self._neighbours.names():  # it was a while
            return tuple(_confirmed(ask) for ask in asks)
        for ask in asks:
            own = here.get(ask.key)
            if own is not None and not self._table.holds(self._options.server, ask.key):
                self._take(own.rate, self._table.lease(self._options.server, ask_of(own, now), now))
        return tuple(self._table.lease(server, ask, self._options.clock()) for ask in asks)

    async def _expect(self, asks: Sequence[Ask]) -> None:
        """Makes places in the table, and hears what others hold of what is new to us."""
        keys = [ask.key for ask in asks]
        names = self._neighbours.names()
        unheard = self._table.expect(keys, names, self._options.clock())
        if unheard:
            await asyncio.gather(*[self._enquire(server, asked) for server, asked in unheard.items()])
            self._table.expect(keys, names, self._options.clock())  # some may have been released meanwhile

    async def _enquire(self, server: str, keys: Sequence[RateKey]) -> None:
        try:
            answer = await self._asked_for(server, RatesRequest(server=self._options.server, enquired=tuple(keys)))
        except ServiceError as error:
            log.info("rates_not_told", server=server, reason=error.message)
            return
        for key, held in zip(keys, answer.held, strict=False):
            self._table.hear(server, key, held)

    async def _asked_for(self, server: str, request: RatesRequest) -> RatesAnswer:
        body = await self._neighbours.ask_rates(server, encoder.encode(request))
        try:
            return answer_decoder.decode(body)
        except msgspec.DecodeError as error:
            raise ServiceError(Code.INTERNAL, f"{server} answers about rates what is none: {error}") from None


def ask_of(limited: Limited, now: float) -> Ask:
    """What a server says of one of its rates."""
    rate = limited.rate
    return Ask(
        key=limited.key,
        limit=rate.limit,
        named_at=rate.named_at,
        held=rate.per_second,
        demand=rate.demand(now) + limited.backlog,
    )


def _confirmed(ask: Ask) -> Grant:
    return Grant(share=ask.held, limit=ask.limit, named_at=ask.named_at, settled=False)
