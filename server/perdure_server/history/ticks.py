"""When a cron schedule ticks: arithmetic on a text and two times, for workflows that run again and again.

Five fields as in crontab, `@daily` and its like, or `@every 5m`; `CRON_TZ=Europe/Oslo` (or `TZ=`) before it where the
clock is not UTC. Rules are Temporal's: a wall time that a change of the clock leaves out does not tick, one that comes
twice ticks twice, and what was missed is not made up for. The rules of time zones come from the machine's own
database, read once for each zone; nothing else is read, and no clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter
from msgspec import Struct

LENGTH_MAX: Final = 255
CACHED_MAX: Final = 1_000
EVERY_MIN: Final = timedelta(seconds=1)
EVERY_MAX: Final = timedelta(days=36_500)
GAPS_MAX: Final = 100
"""Candidates in a row that a change of the clock may leave out; far more than any zone has changes."""
EXAMPLES: Final = "write it like '0 9 * * mon-fri', '@daily', '@every 5m' or 'CRON_TZ=Europe/Oslo 0 9 * * *'"

_MOMENT: Final = timedelta(microseconds=1)
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
_ZONE: Final = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS: Final = {"h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_FIELD: Final = re.compile(r"[0-9a-z*/,-]+")
_NAMES: Final = frozenset(
    "jan feb mar apr may jun jul aug sep oct nov dec sun mon tue wed thu fri sat".split()  # noqa: SIM905 - reads better
)
_DESCRIPTORS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS: Final = 5


class _Every(Struct, frozen=True):
    """The same interval again and again."""

    interval: timedelta

    def after(self, at: datetime, not_before: datetime) -> datetime:
        """The first tick later than `at` that is not before the other time."""
        missed = max(-((at - not_before) // self.interval), 1)
        return at + self.interval * missed


class _Calendar(Struct, frozen=True):
    """Times of a calendar in a time zone."""

    fields: str
    zone: ZoneInfo

    def after(self, at: datetime, not_before: datetime) -> datetime:
        """The first tick later than `at` that is not before the other time."""
        found = max(at, not_before - _MOMENT).astimezone(self.zone)
        for _ in range(GAPS_MAX):
            found = croniter(self.fields, found).get_next(datetime)
            if self._is_wall_time(found):
                return found.astimezone(UTC)
        raise ValueError("no time can be found for it")

    def _is_wall_time(self, found: datetime) -> bool:
        """Law: a wall time that the clock leaves out does not tick, nor does the end of the gap in its stead."""
        wall = found.replace(tzinfo=UTC, fold=0)
        return croniter(self.fields, wall - _MOMENT).get_next(datetime) == wall


def refusal(schedule: str) -> str | None:
    """Why a schedule is not valid, or None.

    >>> refusal("CRON_TZ=Europe/Oslo 0 9 * * *")
    >>> refusal("0 0 30 2 *")
    "cron_schedule '0 0 30 2 *': no time can be found for it"
    """
    if len(schedule) > LENGTH_MAX:
        return f"cron_schedule has {len(schedule)} characters, the limit is {LENGTH_MAX}"
    try:
        next_tick(schedule, after=_LONG_AGO, not_before=_LONG_AGO)
    except ValueError as error:
        return f"cron_schedule {schedule!r}: {error}"
    return None


def next_tick(schedule: str, *, after: datetime, not_before: datetime) -> datetime:
    """The first tick that is later than `after` (the tick of the run that ends) and not before `not_before` (its end).

    A run that ended before its own tick leaves that one. Raises `ValueError` for a schedule that is not valid.

    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> next_tick("@every 5m", after=noon, not_before=noon + timedelta(minutes=12)).strftime("%H:%M")
    '12:15'
    """
    if not_before < after:
        return after
    return _parsed(schedule).after(after, not_before)


@lru_cache(maxsize=CACHED_MAX)
def _parsed(schedule: str) -> _Every | _Calendar:
    zone, text = ZoneInfo("UTC"), schedule.strip()
    if (zoned := _ZONE.fullmatch(text)) is not None:
        zone, text = _zone(zoned[1]), zoned[2].strip()
    lower = text.lower()
    if lower.split(maxsplit=1)[:1] == ["@every"]:
        return _Every(_interval(lower.removeprefix("@every").strip()))
    if lower.startswith("@") and lower not in _DESCRIPTORS:
        raise ValueError(f"there is no {text!r}, but {', '.join(_DESCRIPTORS)} and '@every 5m'")
    fields = _DESCRIPTORS.get(lower, lower).replace("?", "*").split()
    if len(fields) != _FIELDS:
        raise ValueError(f"the number of its fields is {len(fields)}, not {_FIELDS}; {EXAMPLES}")
    for field in fields:
        # What croniter reads besides (a random minute, the last day of a month) Temporal does not.
        if not _FIELD.fullmatch(field) or not set(re.findall("[a-z]+", field)) <= _NAMES:
            raise ValueError(f"field {field!r} cannot be read; {EXAMPLES}")
    return _calendar(" ".join(fields), zone)


def _calendar(fields: str, zone: ZoneInfo) -> _Calendar:
    try:
        croniter.expand(fields)
    except (ValueError, KeyError) as error:
        raise ValueError(f"it cannot be read ({error}); {EXAMPLES}") from None
    try:
        croniter(fields, _LONG_AGO).get_next(datetime)
    except ValueError:
        raise ValueError("no time can be found for it") from None
    return _Calendar(fields, zone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(f"there is no time zone {name!r}; write it like 'Europe/Oslo' or 'UTC'") from None


def _interval(text: str) -> timedelta:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration; write it like '@every 90s', '@every 5m' or '@every 1h30m'")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not EVERY_MIN.total_seconds() <= seconds <= EVERY_MAX.total_seconds():
        raise ValueError(f"an interval is 1 s to {EVERY_MAX.days} days long")
    return timedelta(seconds=seconds)
