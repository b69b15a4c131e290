"""How long the service, or a proxy before it, asks its callers to wait, and what comes of it.

`Retry-After` is a number of seconds or a date (RFC 9110, 10.2.3); perdure says the same in an error's details. It must
not know what was asked.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from perdure_proto.errors import RETRY_AFTER

HEADER: Final = "Retry-After"
SPREAD: Final = 0.5
"""Callers that were refused together come back over half as long again."""


def seconds_in(header: str, now: float) -> float:
    """What a header asks for at a Unix time; 0 for what is no wait.

    >>> seconds_in("120", 0.0), seconds_in("Thu, 01 Jan 1970 00:01:00 GMT", 50.0), seconds_in("soon", 0.0)
    (120.0, 10.0, 0.0)
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return _sane(float(text))
    try:
        return _sane(parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def asked_seconds(details: Mapping[str, Any]) -> float:
    """What an error's details ask for; 0 when they ask for nothing."""
    value = details.get(RETRY_AFTER)
    return _sane(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def pause(backoff: float, asked: float, chance: float | None = None) -> float:
    """Seconds before a repeat: no less than was asked, spread out, and longer with each refusal in a row.

    >>> pause(0.5, 0.0), pause(0.5, 2.0, chance=1.0)
    (0.5, 3.5)
    """
    if not asked:
        return backoff
    if chance is None:
        chance = random.random()  # noqa: S311  # spreads callers, guards nothing
    return asked * (1 + SPREAD * chance) + backoff


def _sane(seconds: float) -> float:
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
