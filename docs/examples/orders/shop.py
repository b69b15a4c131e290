"""The shop: a small service that reserves, charges and ships, and is not to be relied on.

It fails a fifth of its calls, half of these before it did the work and half after, so that a caller cannot know. Its
ledger is an SQLite file: each piece of work is an entry under the caller's idempotency key, each call a line. It knows
nothing of perdure.
"""

import argparse
import asyncio
import random
import sqlite3
import time
from pathlib import Path

from aiohttp import web

STEPS = ("reserve", "charge", "ship", "release")
FAILING_SHARE = 0.2
WORK_SECONDS = (0.01, 0.15)

TABLES = """
create table if not exists entries (
    key text primary key, step text not null, order_id text not null, cents integer not null, reference text not null
);
create table if not exists calls (
    called_at real not null, key text not null, step text not null, outcome text not null
);
"""


class Ledger:
    """What the shop did, and how each call ended. The file outlives the process."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file, isolation_level=None)
        self._database.executescript(TABLES)

    def find(self, key: str) -> str | None:
        """What was done under a key, if anything was."""
        row = self._database.execute("select reference from entries where key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def enter(self, key: str, step: str, order_id: str, cents: int) -> str:
        count = self._database.execute("select count(*) from entries").fetchone()[0]
        reference = f"{step}-{count + 1:04}"
        self._database.execute("insert into entries values (?, ?, ?, ?, ?)", (key, step, order_id, cents, reference))
        return reference

    def note(self, key: str, step: str, outcome: str) -> None:
        self._database.execute("insert into calls values (?, ?, ?, ?)", (time.time(), key, step, outcome))

    def pages(self) -> dict[str, object]:
        """The whole ledger, as an auditor wants it."""
        entries = self._database.execute("select order_id, step, cents, reference from entries").fetchall()
        outcomes = self._database.execute("select outcome, count(*) from calls group by outcome").fetchall()
        names = ("order", "step", "cents", "reference")
        return {"entries": [dict(zip(names, entry, strict=True)) for entry in entries], "calls": dict(outcomes)}


class Shop:
    """The endpoints. `chance` decides which calls fail."""

    def __init__(self, ledger: Ledger, chance: random.Random) -> None:
        self._ledger = ledger
        self._chance = chance

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes([web.post(f"/{step}", self.take_step) for step in STEPS])
        application.add_routes([web.get("/ledger", self.show_ledger)])
        return application

    async def take_step(self, request: web.Request) -> web.Response:
        step, key = request.path.strip("/"), request.headers.get("Idempotency-Key", "")
        call = await request.json()
        if not key or not call.get("order"):
            raise web.HTTPBadRequest(text="an Idempotency-Key and an order are needed")
        fate = self._chance.random()
        if fate < FAILING_SHARE / 2:
            self._ledger.note(key, step, "failed before")
            raise web.HTTPServiceUnavailable(text="out of order, nothing was done")
        await asyncio.sleep(self._chance.uniform(*WORK_SECONDS))
        # From here no await: two calls with one key are one after the other.
        reference, outcome = self._ledger.find(key), "repeated"
        if reference is None:
            reference, outcome = self._ledger.enter(key, step, call["order"], int(call["cents"])), "done"
        if fate < FAILING_SHARE:
            self._ledger.note(key, step, "failed after")
            raise web.HTTPBadGateway(text="done, perhaps")
        self._ledger.note(key, step, outcome)
        return web.json_response({"reference": reference})

    async def show_ledger(self, _: web.Request) -> web.Response:
        return web.json_response(self._ledger.pages())


def main() -> None:
    parser = argparse.ArgumentParser(description="The shop that orders.py calls.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ledger", type=Path, default=Path("shop.sqlite"))
    parser.add_argument("--seed", type=int, default=1, help="which calls fail")
    options = parser.parse_args()
    shop = Shop(Ledger(options.ledger), random.Random(options.seed))
    web.run_app(shop.application(), host="127.0.0.1", port=options.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
