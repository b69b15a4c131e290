"""The rates of namespaces: how many requests of clients a second each lets in, `rps_max` of the namespace.

What is over it is refused with `RESOURCE_EXHAUSTED` and the seconds to wait. One second's worth may come at once. It
must not know requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perdure_proto.errors import Code, ServiceError
from perdure_server.matching.rate import Rate
from perdure_server.rates.homes import RateKey
from perdure_server.rates.rounds import LEASE_SECONDS, Limited
from perdure_server.store.port import NamespaceRow

BURST_SECONDS = 1.0
WAIT_SECONDS_MIN = 0.01
WAIT_SECONDS_MAX = 60.0


class RequestRates:
    """The limited namespaces of this server; `rates` is empty where none is."""

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.rates: dict[str, Rate] = {}
        self._is_alone: Callable[[], bool] = lambda: True
        self._look: Callable[[], None] = lambda: None
        self._clock = clock
        self._wall = wall

    def with_others(self, is_alone: Callable[[], bool], look: Callable[[], None]) -> None:
        """From now on others may be there, who are asked for a share when `look` is called."""
        self._is_alone, self._look = is_alone, look
        for rate in () if is_alone() else self.rates.values():
            rate.share(0.0, self._clock())  # what we held before we were away may be another's by now

    def learn(self, namespaces: Iterable[NamespaceRow]) -> None:
        """The namespaces as they were read."""
        for row in namespaces:
            known = self.rates.get(row.name)
            if not row.rps_max:
                self.rates.pop(row.name, None)
            elif known is None or known.limit != row.rps_max:
                self._limit(row.name, known, row.rps_max)

    def admit(self, namespace: str) -> None:
        """A request of a client. Raises `RESOURCE_EXHAUSTED`."""
        rate = self.rates.get(namespace)
        if rate is None:
            return
        if rate.available(self._clock()):
            rate.spend(1)
            return
        rate.wanted += 1
        longest = WAIT_SECONDS_MAX if self._is_alone() or rate.per_second else LEASE_SECONDS
        raise ServiceError(
            Code.RESOURCE_EXHAUSTED,
            f"namespace {namespace!r} takes {rate.limit:g} requests a second: go slower, or raise its rps_max",
            limit="rps_max",
            max=rate.limit,
            retry_after=round(max(rate.wait(longest), WAIT_SECONDS_MIN), 3),
        )

    def limited(self) -> Iterable[Limited]:
        """What is to be shared among servers."""
        return [Limited(RateKey(name, "", "requests"), rate, 0) for name, rate in self.rates.items()]

    def _limit(self, name: str, known: Rate | None, rps_max: float) -> None:
        now = self._clock()
        if known is None:
            known = self.rates[name] = Rate(rps_max, now, burst_seconds=BURST_SECONDS)
            if not self._is_alone():
                known.share(0.0, now)
        elif self._is_alone():
            known.change(rps_max)
        else:
            known.change_limit(rps_max)
        known.named_at = self._wall()
        self._look()
