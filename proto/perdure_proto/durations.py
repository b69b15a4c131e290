"""Durations as a person writes them: `10s`, `5m`, `1h30m`, `250ms`, `2d`. A number always has its unit."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str) -> timedelta:
    """The duration that a text says; raises `ValueError` with what would fit.

    >>> parse_duration("1h30m"), parse_duration("0")
    (datetime.timedelta(seconds=5400), datetime.timedelta(0))
    """
    word = text.strip().lower()
    if word == "0":
        return timedelta(0)
    if not _WHOLE.fullmatch(word):
        raise ValueError(f"'{text}' is not a duration: write a number and its unit, such as 10s, 5m, 1h30m or 250ms")
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(word)))
    except OverflowError:
        raise ValueError(f"'{text}' is longer than any duration") from None


def format_duration(duration: timedelta) -> str:
    """The same in the other direction, in at most two units.

    >>> format_duration(timedelta(minutes=90)), format_duration(timedelta(seconds=2.5))
    ('1h30m', '2.5s')
    """
    seconds = duration.total_seconds()
    if seconds < 0:
        return "-" + format_duration(-duration)
    if seconds < 1:
        return f"{seconds * 1000:.3g}ms" if seconds else "0s"
    if seconds < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    rest = round(seconds)
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, round(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])
