"""A clock that goes on evenly while the machine's is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from perdure_server.clock import SteadyClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_it_shows_the_time_of_day() -> None:
    """It begins with what the machine says."""
    assert SteadyClock(lambda: NOON, lambda: 77.0)() == NOON


def test_it_goes_on_when_the_machine_is_set_back() -> None:
    """Only what passes on the monotonic clock counts."""
    shown, passed = NOON, 77.0
    clock = SteadyClock(lambda: shown, lambda: passed)
    shown, passed = NOON - timedelta(minutes=3), 78.5
    assert NOON + timedelta(seconds=1.5) == clock()
