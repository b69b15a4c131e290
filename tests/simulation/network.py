"""The network: real requests as bytes, each way with a delay, and with what can go wrong on the way.

An answer may be lost (the caller waits until its patience ends, or sees the connection break), a request may come
twice, and one whose caller has given up may still be worked on. Every caller goes to a server that answered it last,
and to another when that one does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from random import Random
from typing import Any, TypeAlias

from msgspec import Struct

from tests.simulation.hosts import Host
from tests.simulation.loop import SimulatedLoop, outside
from tests.simulation.trace import Trace

Answer: TypeAlias = tuple[int, bytes]
Serve: TypeAlias = Callable[..., Coroutine[Any, Any, Answer]]
RETRIED = frozenset({-1, 0, 503})
"""After these a caller tries another server."""
BROKEN: Answer = (0, b"")
"""No answer: the connection broke."""
REFUSED: Answer = (-1, b"")
"""No connection: nothing was asked."""


class Weather(Struct, frozen=True, kw_only=True):
    """How bad the network is: chances for each request. Delays are in seconds."""

    delay_max: float = 0.003
    straggle: float = 0.0
    straggle_max: float = 2.0
    lose_request: float = 0.0
    lose_answer: float = 0.0
    repeat: float = 0.0
    break_at_once: float = 0.5
    """Of what is lost: how often the caller sees it at once."""


class Endpoint:
    """A server as others reach it."""

    def __init__(self, host: Host, serve: Serve) -> None:
        self.host = host
        self.serve = serve
        self.is_cut = False
        self.pending: dict[int, asyncio.Future[Answer]] = {}
        host.on_death.append(self._break)

    def _break(self) -> None:
        """A process that dies takes its connections with it."""
        for answer in self.pending.values():
            if not answer.done():
                answer.get_loop().call_soon(settle, answer, BROKEN)
        self.pending.clear()


def settle(answer: asyncio.Future[Answer], value: Answer) -> None:
    if not answer.done():
        answer.set_result(value)


def address_of(name: str) -> str:
    """Where a host says that it is."""
    return f"http://{name}"


class Network:
    """Carries requests to the endpoints."""

    def __init__(self, loop: SimulatedLoop, trace: Trace, weather: Weather, seed: str) -> None:
        self._loop = loop
        self._trace = trace
        self.weather = weather
        self._seed = seed
        self.endpoints: list[Endpoint] = []
        self.apart: set[frozenset[str]] = set()
        """Pairs of hosts that do not reach each other."""
        self._context: Context = outside()
        self._numbers = 0

    def route(self, name: str) -> Route:
        """One caller's way in."""
        return Route(self, Random(f"{self._seed}/network/{name}"), name)

    def later(self, delay: float, callback: Callable[..., object], *args: object) -> None:
        self._loop.call_later(delay, callback, *args, context=self._context)

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def note(self, who: str, what: str, *details: object) -> None:
        self._trace.note(who, what, *details)


class Route:
    """The connections of one caller."""

    def __init__(self, network: Network, random: Random, name: str) -> None:
        self._network = network
        self._random = random
        self._name = name
        self._loop = network._loop
        self._endpoint: Endpoint | None = None

    async def exchange(
        self, method: str, target: str, body: bytes, *, to: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to a request; status 0 or less: none. It may also never come. `to` one address, or to anybody."""
        endpoint = self._at(to) if to else self._choose()
        answer: asyncio.Future[Answer] = self._loop.create_future()
        if endpoint is None:
            self._network.later(self._delay(), settle, answer, REFUSED)
            return await answer
        number = self._network.number()
        asked: tuple[Any, ...] = (method, target, body) if headers is None else (method, target, body, headers)
        request = Request(self, endpoint, asked, answer, number)
        request.send()
        try:
            status, content = await answer
        finally:
            request.given_up()
        if status in RETRIED and not to:
            self._endpoint = None
        return status, content

    def _at(self, address: str) -> Endpoint | None:
        there = [each for each in self._network.endpoints if address_of(each.host.name) == address]
        return there[-1] if there and not there[-1].host.is_dead else None

    def is_apart(self, endpoint: Endpoint) -> bool:
        """Whether nothing goes between these two."""
        apart = self._network.apart
        return bool(apart) and frozenset({self._name.partition("/")[0], endpoint.host.name}) in apart

    def _choose(self) -> Endpoint | None:
        if self._endpoint is None or self._endpoint.host.is_dead:
            alive = [endpoint for endpoint in self._network.endpoints if not endpoint.host.is_dead]
            self._endpoint = self._random.choice(alive) if alive else None
        return self._endpoint

    def _delay(self) -> float:
        weather, random = self._network.weather, self._random
        if weather.straggle and random.random() < weather.straggle:
            return random.uniform(0.0, weather.straggle_max)
        return random.uniform(0.0001, weather.delay_max)

    def happens(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance


class Request:
    """One request on its way there and back."""

    def __init__(
        self,
        route: Route,
        endpoint: Endpoint,
        content: tuple[Any, ...],
        answer: asyncio.Future[Answer],
        number: int,
    ) -> None:
        self._route = route
        self._network = route._network
        self._endpoint = endpoint
        self._content = content
        self._answer = answer
        self._number = number
        self._serving: asyncio.Task[Answer] | None = None

    def send(self) -> None:
        route, weather = self._route, self._network.weather
        if route.happens(weather.lose_request):
            self._lose("request lost")
            return
        for _ in range(2 if route.happens(weather.repeat) else 1):
            self._network.later(route._delay(), self._arrive)

    def given_up(self) -> None:
        """The caller has its answer, or does not wait any more: what still runs for it is cancelled, a while later."""
        if self._serving is not None and not self._serving.done():
            self._network.later(self._route._delay(), self._serving.cancel)
        self._endpoint.pending.pop(self._number, None)

    def _arrive(self) -> None:
        host = self._endpoint.host
        if host.is_dead or self._endpoint.is_cut:
            self._lose("refused")
            return
        if self._route.is_apart(self._endpoint):
            self._lose("cut apart")
            return
        self._endpoint.pending[self._number] = self._answer
        serving = host.spawn(self._endpoint.serve(*self._content))
        serving.add_done_callback(self._leave, context=self._network._context)
        self._serving = serving

    def _leave(self, serving: asyncio.Task[Answer]) -> None:
        route, weather = self._route, self._network.weather
        if serving.cancelled():
            self._lose("cancelled")
        elif route.happens(weather.lose_answer) or self._endpoint.is_cut or route.is_apart(self._endpoint):
            self._network.note(route._name, "answer lost", *self._content[:2], serving.result()[0])
            self._lose("")
        else:
            self._network.later(route._delay(), self._come_back, serving.result())

    def _come_back(self, value: Answer) -> None:
        self._endpoint.pending.pop(self._number, None)
        settle(self._answer, value)

    def _lose(self, why: str) -> None:
        if self._route.happens(self._network.weather.break_at_once) or why == "refused":
            self._network.later(self._route._delay(), self._come_back, REFUSED if why == "refused" else BROKEN)
