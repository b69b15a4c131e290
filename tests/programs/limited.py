"""Activities under concurrency limits, which note in a table of the test's database when they begin and end."""

import asyncio
import os
import time
from datetime import timedelta

import asyncpg

from perdure import activity, workflow

WORK_SECONDS = 0.2
MOST = 3
KEY = "printers"

TABLE = """
create table if not exists limited_notes (
    id int generated always as identity primary key, pid int not null, about text not null, name text not null,
    began_at timestamptz not null default clock_timestamp(), ended_at timestamptz
)
"""


async def note(about: str, name: str) -> None:
    """Begins, takes its time, ends; and says so in the table, at moments that lie within the attempt."""
    connection = await asyncpg.connect(os.environ["LIMITED_DATABASE_URL"])
    try:
        # No table lock between attempts: each is a row of its own.
        row = await connection.fetchval(
            "insert into limited_notes (pid, about, name) values ($1, $2, $3) returning id", os.getpid(), about, name
        )
        await asyncio.sleep(WORK_SECONDS)
        await connection.execute("update limited_notes set ended_at = clock_timestamp() where id = $1", row)
    finally:
        connection.terminate()


@activity.defn(start_to_close_timeout=timedelta(seconds=60), concurrency_max=MOST)
async def by_type(name: str) -> str:
    await note("by_type", name)
    return name


@activity.defn(start_to_close_timeout=timedelta(seconds=60), concurrency_key=KEY, concurrency_max=MOST)
async def by_key(name: str) -> str:
    await note(KEY, name)
    return name


@activity.defn(start_to_close_timeout=timedelta(seconds=60))
async def free(name: str) -> str:
    await note("free", name)
    return name


@activity.defn(start_to_close_timeout=timedelta(seconds=60), retry_policy="none")
def slow(seconds: float) -> None:
    time.sleep(seconds)


@workflow.defn
async def prints(names: list[str]) -> list[str]:
    """All of them at once, as far as this workflow knows."""
    return list(await asyncio.gather(*[by_key(name) for name in names]))


@workflow.defn
async def types(names: list[str]) -> list[str]:
    return list(await asyncio.gather(*[by_type(name) for name in names]))


@workflow.defn
async def under_other_keys(names: list[str], most: int) -> list[str]:
    """Each name has a limit of its own."""
    return list(
        await asyncio.gather(
            *[free.with_options(concurrency_key=f"own-{name}", concurrency_max=most)(name) for name in names]
        )
    )


WORKFLOWS = (prints, types, under_other_keys)
ACTIVITIES = (by_type, by_key, free, slow)
