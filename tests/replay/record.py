"""Records the goldens of `tests/replay/recorded` again: `python -m tests.replay.record`, with names only those.

Each program runs on a server, a Postgres and a worker that are real; all runs that a drive began are written as they
are in the log, one event a line. Only who ran them and where its files are is taken out.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from perdure import Client
from perdure_proto.events import AnyEvent
from perdure_worker import Worker
from tests.integration.model.stack import Stack, served
from tests.invariants import read_histories
from tests.postgres import FORGETFUL, create_template, fresh_database, run_postgres
from tests.replay.recorded.goldens import GOLDENS, HISTORIES, Golden, Program

QUEUE = "model"
WHERE = {"identity": "worker", "stack_trace": ""}
"""Fields that tell of the machine, and what stands in their place."""


@asynccontextmanager
async def stack_for(program: Program, dsn: str) -> AsyncIterator[Stack]:
    """A server and a worker with a program; interceptors of the client are the worker's too."""
    async with (
        served(dsn) as address,
        await Client.connect(address, interceptors=program.interceptors) as client,
        Worker(client, task_queue=QUEUE, workflows=program.workflows, activities=program.activities, database_url=dsn),
    ):
        yield Stack(client, dsn, QUEUE)


def cleaned(value: Any) -> Any:
    match value:
        case dict():
            return {name: WHERE[name] if name in WHERE and one else cleaned(one) for name, one in value.items()}
        case list():
            return [cleaned(one) for one in value]
        case _:
            return value


def lines(events: Iterable[AnyEvent]) -> str:
    plain = [cleaned(msgspec.json.decode(msgspec.json.encode(event))) for event in events]
    return "".join(msgspec.json.encode(one).decode() + "\n" for one in plain)


async def record(golden: Golden, postgres: str, template: str) -> None:
    """Each drive has a database of its own: what is in it then is the golden."""
    async with fresh_database(postgres, template=template) as dsn:
        async with stack_for(golden.program, dsn) as stack:
            await golden.drive(stack, *golden.args)
        histories = await read_histories(dsn)
    kept = [events for _, events in sorted(histories.items()) if golden.keeps(events)]
    await asyncio.to_thread(golden.file.write_text, "".join(map(lines, kept)))
    sys.stdout.write(f"{golden.name}: {len(kept)} runs\n")


async def main(names: list[str]) -> None:
    """Records the goldens of these names, or all; what is no golden any more goes."""
    HISTORIES.mkdir(exist_ok=True)
    wanted = [golden for golden in GOLDENS if not names or golden.name in names]
    for stale in set(HISTORIES.glob("*.jsonl")) - {golden.file for golden in GOLDENS}:
        stale.unlink()
    async with run_postgres(FORGETFUL) as postgres:
        template = await create_template(postgres)
        for golden in wanted:
            await record(golden, postgres, template)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
