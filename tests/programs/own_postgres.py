"""A process that owns an embedded Postgres: prints the postmaster's pid when it is ready, or the code of the error,
and ends when its standard input does.
"""

import asyncio
import sys
from pathlib import Path

from perdure_server.embedded import EmbeddedPostgres, EmbeddedPostgresError


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    try:
        await postgres.start()
    except EmbeddedPostgresError as error:
        say(error.code)
        return
    say(str(postgres.pid))
    await asyncio.to_thread(sys.stdin.read)
    await postgres.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
