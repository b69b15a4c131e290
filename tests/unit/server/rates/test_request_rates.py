"""Requests of clients to a namespace with a rate: how many are taken, and what the others are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from perdure_proto.errors import Code, ServiceError
from perdure_server.rates.requests import WAIT_SECONDS_MAX, RequestRates
from perdure_server.store.port import NamespaceRow

MORNING = datetime(2026, 1, 1, 8, tzinfo=UTC)


class Door:
    """RequestRates on a clock that is moved by hand."""

    def __init__(self, **limits: float) -> None:
        self.now = 100.0
        self.is_alone = True
        self.looks = 0
        self.admission = RequestRates(lambda: self.now, lambda: self.now)
        self.admission.with_others(lambda: self.is_alone, self._look)
        self.learn(**limits)

    def _look(self) -> None:
        self.looks += 1

    def learn(self, **limits: float) -> None:
        rows = [NamespaceRow(1, name, "", timedelta(days=1), MORNING, limit) for name, limit in limits.items()]
        self.admission.learn(rows)

    def taken(self, count: int, namespace: str = "shop") -> int:
        """How many of so many are taken."""
        return sum(self.refusal(namespace) is None for _ in range(count))

    def refusal(self, namespace: str = "shop") -> ServiceError | None:
        try:
            self.admission.admit(namespace)
        except ServiceError as error:
            return error
        return None


def test_a_second_s_worth_may_come_at_once() -> None:
    """Then so many as the time since is worth, and never more than a second's worth."""
    door = Door(shop=10)
    assert 10 == door.taken(30)
    door.now += 0.5
    assert 5 == door.taken(30)
    door.now += 60
    assert 10 == door.taken(30)


def test_who_is_refused_is_told_when_to_come_back() -> None:
    """With a code that clients repeat, the limit, and seconds."""
    door = Door(shop=4)
    door.taken(4)
    refused = door.refusal()
    assert refused is not None
    assert (Code.RESOURCE_EXHAUSTED, 429) == (refused.code, refused.status)
    assert {"limit": "rps_max", "max": 4.0, "retry_after": 0.25} == refused.details
    door.now += 0.25
    assert door.refusal() is None


def test_a_slow_rate_has_a_longest_wait() -> None:
    """Nobody is told to come back in an hour."""
    door = Door(shop=0.001)
    door.taken(1)
    refused = door.refusal()
    assert refused is not None
    assert WAIT_SECONDS_MAX == refused.details["retry_after"]


def test_without_a_limit_all_are_taken() -> None:
    """In namespaces that have none, had one, or are not known."""
    door = Door(shop=1, free=0)
    assert (99, 99) == (door.taken(99, "free"), door.taken(99, "unknown"))
    door.learn(shop=0)
    assert 99 == door.taken(99)
    assert not door.admission.rates


def test_another_limit_holds_at_once() -> None:
    """Alone all of it is ours."""
    door = Door(shop=2)
    door.taken(2)
    door.learn(shop=50)
    door.now += 1
    assert 50 == door.taken(99)


def test_with_others_only_our_share_is_ours() -> None:
    """At first that is one request; a smaller limit cuts it, a greater one leaves it until we are given more."""
    door = Door()
    door.is_alone = False
    door.learn(shop=10)
    assert (1, 1) == (door.looks, door.taken(9))
    [limited] = door.admission.limited()
    limited.rate.share(6, door.now)
    door.learn(shop=60)
    assert (6, 60) == (limited.rate.per_second, limited.rate.limit)
    door.learn(shop=3)
    assert (3, 3) == (limited.rate.per_second, limited.rate.limit)


def test_without_a_share_it_is_worth_coming_back_soon() -> None:
    """The next round may bring one."""
    door = Door()
    door.is_alone = False
    door.learn(shop=0.01)
    door.taken(1)
    refused = door.refusal()
    assert refused is not None
    assert refused.details["retry_after"] == pytest.approx(1.0)


def test_after_an_absence_nothing_is_ours() -> None:
    """What we held may be another's by now."""
    door = Door(shop=10)
    door.is_alone = False
    door.admission.with_others(lambda: door.is_alone, lambda: None)
    assert [0.0] == [limited.rate.per_second for limited in door.admission.limited()]


def test_what_is_refused_is_wanted() -> None:
    """So that the share of a server grows where requests come."""
    door = Door(shop=10)
    door.taken(30)
    [limited] = door.admission.limited()
    door.now += 1
    assert 30 == limited.rate.demand(door.now)
    door.now += 1
    assert 0 == limited.rate.demand(door.now)
