"""Signs that activities give to the test which runs their worker in its own process."""

import asyncio
import threading
from collections import Counter, defaultdict

SECONDS_MAX = 20.0

_signs: defaultdict[str, threading.Event] = defaultdict(threading.Event)
calls: Counter[str] = Counter()
"""How often something ran, by the name that it gave."""


def give(name: str) -> None:
    """From an activity, of either kind."""
    calls[name] += 1
    _signs[name].set()


async def seen(name: str) -> None:
    """Returns when the sign was given."""
    assert await asyncio.to_thread(_signs[name].wait, SECONDS_MAX), f"no sign {name!r}"
