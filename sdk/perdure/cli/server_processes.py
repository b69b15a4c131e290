"""`perdure server --processes N`: several history servers on one host, each with a name and a port of its own.

They are servers of one cluster like any others; the first has the port that was asked for. One that dies is started
again, and the others own its shards meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

from perdure.cli.processes import on_stop_signals
from perdure.cli.supervision.background import background
from perdure.cli.supervision.child import Child
from perdure.cli.supervision.keeper import Keeper, Start
from perdure.cli.supervision.voice import Voice

if TYPE_CHECKING:
    from perdure_server.config import ServerSettings

STOP_SECONDS_BEYOND_DRAIN = 10.0


async def run_servers(settings: ServerSettings, processes: int) -> None:
    """Runs them until a signal says stop; a second one ends all at once."""
    is_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    voice = Voice(is_text=is_text)
    asked = asyncio.Event()
    keepers: list[Keeper] = []

    def kill() -> None:
        for keeper in keepers:
            keeper.kill()

    on_stop_signals(asked.set, kill)
    with background() as tasks:
        async with AsyncExitStack() as stack:
            for name, environment in environments(settings, processes):
                keeper = Keeper(name, _start(name, environment, voice), voice, tasks)
                keepers.append(keeper)
                await keeper.start()
            stack.push_async_callback(_stop_all, keepers, settings.drain)
            await asked.wait()
            voice.say("stopping", "stopping the servers (Ctrl-C again ends all at once)")


def environments(settings: ServerSettings, processes: int) -> Iterator[tuple[str, dict[str, str]]]:
    """What tells each process who it is.

    >>> from perdure_server.config import ServerSettings
    >>> [told["PERDURE_PORT"] for _, told in environments(ServerSettings(name="a", port=7233), 2)]
    ['7233', '7234']
    """
    for number in range(processes):
        name = f"{settings.name}-{number + 1}"
        yield (
            name,
            {
                "PERDURE_NAME": name,
                "PERDURE_PORT": str(settings.port + number if settings.port else 0),
                "PERDURE_DATABASE_URL": settings.database_url,
                "PERDURE_EMBEDDED": "false",
                "PERDURE_PROCESSES": "1",
            },
        )


def _start(name: str, environment: dict[str, str], voice: Voice) -> Start:
    return lambda: Child.start(name, ("server",), environment, voice)


async def _stop_all(keepers: list[Keeper], drain: timedelta) -> None:
    """One after the other, so that there is somebody to hand over to until the last."""
    for keeper in keepers:
        await keeper.stop(drain.total_seconds() + STOP_SECONDS_BEYOND_DRAIN)
