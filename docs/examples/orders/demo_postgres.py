"""A process that owns the embedded Postgres, so that it can be killed apart from everything else.

It prints one JSON line when Postgres is ready, and ends when Postgres does or when its standard input is closed.
A deployment has a Postgres of its own instead, and nothing here of its own to run.
"""

import asyncio
import json
import sys
from pathlib import Path

from perdure_server.embedded import EmbeddedPostgres, EmbeddedPostgresError


async def main(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    try:
        dsn = await postgres.start()
        print(json.dumps({"dsn": dsn, "pid": postgres.pid}), flush=True)
        ended = asyncio.ensure_future(postgres.wait())
        closed = asyncio.ensure_future(until_closed())
        await asyncio.wait([ended, closed], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        closed.cancel()
    finally:
        await postgres.stop()


async def until_closed() -> None:
    """Return when whoever started this process has closed our standard input, or is gone."""
    closed = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, closed.set)
    await closed.wait()


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except EmbeddedPostgresError as error:
        sys.exit(f"{error.code}: {error.message}")
