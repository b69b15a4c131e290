"""When cron schedules tick: fields, names, intervals, time zones, and the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure_server.history.ticks import next_tick, refusal

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def ticks(schedule: str, after: datetime, count: int) -> list[datetime]:
    """The ticks of runs that take no time."""
    found: list[datetime] = []
    for _ in range(count):
        after = next_tick(schedule, after=after, not_before=after)
        found.append(after)
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("* * * * *", "2026-01-01T12:01"),
        ("*/15 9-17 * * mon-fri", "2026-01-01T12:15"),
        ("30 6 1,15 * *", "2026-01-15T06:30"),
        ("0 0 * JAN-MAR sun", "2026-01-04T00:00"),
        ("0 0 ? * 7", "2026-01-04T00:00"),
        ("0 0 13 * fri", "2026-01-02T00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("@hourly", "2026-01-01T13:00"),
        ("@daily", "2026-01-02T00:00"),
        ("@midnight", "2026-01-02T00:00"),
        ("@weekly", "2026-01-04T00:00"),
        ("@monthly", "2026-02-01T00:00"),
        ("@yearly", "2027-01-01T00:00"),
        ("@Annually", "2027-01-01T00:00"),
        ("@every 90s", "2026-01-01T12:01:30"),
        ("@every 1h30m", "2026-01-01T13:30"),
        ("TZ=Asia/Kolkata @every 1.5s", "2026-01-01T12:00:01.500"),
        ("TZ=Asia/Kolkata 0 9 * * *", "2026-01-02T03:30"),
        ("CRON_TZ=America/New_York 0 9 * * *", "2026-01-01T14:00"),
        (" TZ=UTC   @daily ", "2026-01-02T00:00"),
    ],
)
def test_the_next_tick(schedule: str, expected: str) -> None:
    """Each form of a schedule says when it is due, in UTC."""
    assert datetime.fromisoformat(expected).replace(tzinfo=UTC) == ticks(schedule, NOON, 1)[0]
    assert refusal(schedule) is None


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("", "the number of its fields is 0, not 5"),
        ("0 9 * *", "the number of its fields is 4, not 5"),
        ("0 0 9 * * *", "the number of its fields is 6, not 5"),
        ("60 * * * *", "out of range"),
        ("*/0 * * * *", "cannot be read"),
        ("0 0 0 * *", "out of range"),
        ("1.5 * * * *", "field '1.5' cannot be read"),
        ("R * * * *", "field 'r' cannot be read"),
        ("0 0 L * *", "field 'l' cannot be read"),
        ("0 0 * * fri#2", "field 'fri#2' cannot be read"),
        ("0 0 30 2 *", "no time can be found for it"),
        ("@reboot", "there is no '@reboot', but @yearly"),
        ("@every", "'' is not a duration"),
        ("@every 5", "'5' is not a duration"),
        ("@every 0.5s", "an interval is 1 s to 36500 days long"),
        ("@every 999999999h", "an interval is 1 s to 36500 days long"),
        ("TZ=Europe/Atlantis 0 9 * * *", "there is no time zone 'Europe/Atlantis'"),
        ("CRON_TZ=../etc/passwd 0 9 * * *", "there is no time zone '../etc/passwd'"),
        ("* " * 200, "cron_schedule has 400 characters, the limit is 255"),
    ],
)
def test_a_schedule_that_is_not_valid(schedule: str, says: str) -> None:
    """The refusal says what is wrong with it."""
    assert says in (refusal(schedule) or "")


def test_missed_ticks_are_not_made_up_for() -> None:
    """A run that took longer than its interval goes on with the first tick that is still to come."""
    late = NOON + timedelta(minutes=12, seconds=30)
    assert NOON + 13 * MINUTE == next_tick("* * * * *", after=NOON, not_before=late)
    assert NOON + 15 * MINUTE == next_tick("@every 5m", after=NOON, not_before=late)


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "@every 5m"])
def test_a_tick_at_the_very_end_of_a_run_is_not_missed(schedule: str) -> None:
    """It is due at once."""
    assert NOON + 5 * MINUTE == next_tick(schedule, after=NOON, not_before=NOON + 5 * MINUTE)


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "@every 5m"])
def test_a_run_that_ends_before_its_tick_leaves_it(schedule: str) -> None:
    """A run whose wait was ended early did not take the tick."""
    assert NOON == next_tick(schedule, after=NOON, not_before=NOON - MINUTE)


def test_a_time_that_the_clock_leaves_out_does_not_tick() -> None:
    """In Oslo 02:30 does not come on 29 March 2026, and nothing else ticks in its stead."""
    found = ticks("CRON_TZ=Europe/Oslo 30 2 * * *", datetime(2026, 3, 27, 12, tzinfo=UTC), 3)
    assert ["03-28 01:30", "03-30 00:30", "03-31 00:30"] == [each.strftime("%m-%d %H:%M") for each in found]


def test_a_time_that_comes_twice_ticks_twice() -> None:
    """In Oslo 02:30 comes twice on 25 October 2026, an hour apart."""
    found = ticks("CRON_TZ=Europe/Oslo 30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC), 3)
    assert ["10-25 00:30", "10-25 01:30", "10-26 01:30"] == [each.strftime("%m-%d %H:%M") for each in found]


@pytest.mark.parametrize(("day", "expected"), [("2026-03-28", "08:00 07:00"), ("2026-10-24", "07:00 08:00")])
def test_nine_in_the_morning_stays_nine_in_the_morning(day: str, expected: str) -> None:
    """The clock of the zone counts, summer and winter."""
    found = ticks("CRON_TZ=Europe/Oslo 0 9 * * *", datetime.fromisoformat(day).replace(tzinfo=UTC), 2)
    assert expected == " ".join(each.strftime("%H:%M") for each in found)


CHANGES = [
    ("Europe/Oslo", datetime(2026, 3, 28, 20, tzinfo=UTC)),
    ("Europe/Oslo", datetime(2026, 10, 24, 20, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 3, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 3, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 12, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 12, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 3, 28, 20, tzinfo=UTC)),
]
minutes = st.sampled_from(["*", "0", "30", "*/15", "10,50", "5-20/5"])
hours = st.sampled_from(["*", "1", "2", "3", "1-3", "*/2"])


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(CHANGES), minutes, hours)
def test_the_ticks_are_those_that_a_look_at_every_minute_finds(
    change: tuple[str, datetime], minute: str, hour: str
) -> None:
    """Whichever way the clock is changed, no tick is left out and none is added."""
    zone, start = change
    expected: list[datetime] = []
    for number in range(1, 16 * 60):
        at = start + number * MINUTE
        wall = at.astimezone(ZoneInfo(zone))
        if wall.minute in values(minute, 59) and wall.hour in values(hour, 23):
            expected.append(at)
    assert expected == ticks(f"TZ={zone} {minute} {hour} * * *", start, len(expected))


def values(field: str, last: int) -> set[int]:
    """What a field of the test means, read in the plainest way."""
    found: set[int] = set()
    for part in field.split(","):
        bounds, _, step = part.partition("/")
        low, _, high = ("0", "", str(last)) if bounds == "*" else bounds.partition("-")
        found.update(range(int(low), int(high or low) + 1, int(step or 1)))
    return found
