"""What is limited on this server: task queues of matching, and namespaces."""

from __future__ import annotations

from collections.abc import Iterable

from perdure_server.matching.service import Matching
from perdure_server.rates.homes import RateKey
from perdure_server.rates.requests import RequestRates
from perdure_server.rates.rounds import Limited


def limited_here(matching: Matching, requests: RequestRates) -> Iterable[Limited]:
    """All of it. Parked tasks are of no account: a window full of others waits before them."""
    for queue in matching.limited():
        assert queue.rate is not None, "matching says that it is limited"
        yield Limited(RateKey(queue.namespace, queue.name, "activity"), queue.rate, len(queue))
    yield from requests.limited()
