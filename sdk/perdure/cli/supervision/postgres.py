"""The embedded Postgres under a supervisor: started first, stopped last, started again when it dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from perdure.cli.exits import CommandError, Exit
from perdure.cli.extras import need_extra
from perdure.cli.supervision.background import Background
from perdure.cli.supervision.keeper import Backoff
from perdure.cli.supervision.voice import Voice
from perdure_proto.durations import format_duration
from perdure_server.embedded import EmbeddedPostgres, EmbeddedPostgresError


@asynccontextmanager
async def kept_postgres(data_dir: Path, voice: Voice, tasks: Background) -> AsyncGenerator[str]:
    """The DSN of a Postgres that runs, and is kept running, as long as the block lasts."""
    need_extra("embedded")
    try:
        postgres = EmbeddedPostgres(data_dir)
        dsn = await postgres.start()
    except EmbeddedPostgresError as error:
        raise CommandError(Exit.NOT_DONE, error.code.upper(), error.message) from None
    keeping = tasks.start(_keep(postgres, voice))
    asked = False
    try:
        yield dsn
    except asyncio.CancelledError:
        asked = True
        raise
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await postgres.stop()
        if asked:  # else an error says the one line that there is to say
            voice.say("child_stopped", "postgres stopped", child="postgres")


async def _keep(postgres: EmbeddedPostgres, voice: Voice) -> None:
    backoff, loop = Backoff(), asyncio.get_running_loop()
    while True:
        began = loop.time()
        status = await postgres.wait()
        while True:
            pause = backoff.pause(loop.time() - began)
            again = format_duration(timedelta(seconds=pause))
            voice.say(
                "child_ended", f"postgres ended with status {status}: starting it again in {again}", status=status
            )
            await asyncio.sleep(pause)
            try:
                await postgres.start()
                break
            except EmbeddedPostgresError as error:
                voice.say("postgres_refused", f"postgres does not start: {error.message}", code=error.code)
        voice.say("child_restarted", f"postgres runs again (process {postgres.pid})", child="postgres")
