"""The throttle of heartbeats, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure_worker.heartbeats import Heartbeats, interval_of


class Handle:
    """A timer that can be cancelled."""

    def __init__(self, at: float, callback: Callable[..., object]) -> None:
        self.at = at
        self.callback: Callable[..., object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """The part of a loop that `Heartbeats` uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.handles: list[Handle] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any:
        handle = Handle(self.now + delay, callback)
        self.handles.append(handle)
        return handle

    def move(self, seconds: float) -> None:
        self.now += seconds
        for handle in self.handles:
            if handle.callback is not None and handle.at <= self.now:
                callback, handle.callback = handle.callback, None
                callback()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sent() -> list[int]:
    return []


@pytest.fixture
def heartbeats(clock: Clock, sent: list[int]) -> Heartbeats[int]:
    return Heartbeats(clock, 8.0, sent.append)


def test_first_goes_out_at_once(heartbeats: Heartbeats[int], sent: list[int]) -> None:
    """The first heartbeat is not held back."""
    heartbeats.beat(1)
    assert [1] == sent


def test_of_many_only_the_last_is_sent_after_the_interval(
    heartbeats: Heartbeats[int], clock: Clock, sent: list[int]
) -> None:
    """What comes within the interval is replaced by what comes later, and sent when it is over."""
    for number in range(1, 5):
        heartbeats.beat(number)
    clock.move(7.9)
    assert [1] == sent
    clock.move(0.1)
    assert [1, 4] == sent


def test_silence_sends_nothing(heartbeats: Heartbeats[int], clock: Clock, sent: list[int]) -> None:
    """Nothing is repeated by itself: only user code knows that it goes on."""
    heartbeats.beat(1)
    clock.move(100)
    assert [1] == sent


def test_next_after_a_pause_goes_out_at_once(heartbeats: Heartbeats[int], clock: Clock, sent: list[int]) -> None:
    """After an interval without a heartbeat the next is not held back."""
    heartbeats.beat(1)
    clock.move(8)
    heartbeats.beat(2)
    assert [1, 2] == sent


def test_last_words_send_what_waits(heartbeats: Heartbeats[int], clock: Clock, sent: list[int]) -> None:
    """What waits goes out before the failure, once."""
    heartbeats.beat(1)
    heartbeats.beat(2)
    heartbeats.last_words()
    clock.move(8)
    assert [1, 2] == sent


def test_stopped_heartbeats_are_silent(heartbeats: Heartbeats[int], clock: Clock, sent: list[int]) -> None:
    """Nothing follows the end of an attempt."""
    heartbeats.beat(1)
    heartbeats.beat(2)
    heartbeats.stop()
    clock.move(8)
    assert [1] == sent


@pytest.mark.parametrize(
    ("timeout", "interval"), [(timedelta(seconds=10), 8.0), (timedelta(hours=1), 30.0), (None, 30.0)]
)
def test_interval_follows_the_timeout(timeout: timedelta | None, interval: float) -> None:
    """It is 80 % of the heartbeat timeout, and never longer than 30 seconds."""
    assert interval == interval_of(timeout)
