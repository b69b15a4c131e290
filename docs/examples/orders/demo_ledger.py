"""The shop's ledger as the demo reads it: over HTTP, as anybody may."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

ANSWER_SECONDS_MAX = 5.0


@dataclass(frozen=True)
class Entry:
    """One piece of work that the shop did."""

    order: str
    step: str
    cents: int
    reference: str


@dataclass(frozen=True)
class Ledger:
    """What the shop did, and how its calls ended."""

    entries: tuple[Entry, ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)

    def count(self, step: str) -> int:
        return sum(1 for entry in self.entries if entry.step == step)

    @property
    def failed_before(self) -> int:
        return self.calls.get("failed before", 0)

    @property
    def failed_after(self) -> int:
        return self.calls.get("failed after", 0)


async def read_ledger(shop_url: str) -> Ledger | None:
    """The ledger as it is now, or None if the shop does not answer."""
    patience = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    try:
        async with aiohttp.ClientSession(timeout=patience) as session, session.get(f"{shop_url}/ledger") as answer:
            pages = await answer.json()
    except (aiohttp.ClientError, TimeoutError):
        return None
    return Ledger(tuple(Entry(**entry) for entry in pages["entries"]), pages["calls"])
