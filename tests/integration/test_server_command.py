"""`perdure migrate` and `perdure server` on a Postgres of one's own."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from perdure.cli.exits import Exit
from tests.unit.cli.conftest import Outcome

SECONDS_MAX = 20.0


@asynccontextmanager
async def started(*words: str) -> AsyncIterator[Process]:
    """A command in a process of its own, ended with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perdure.cli", *words),
        env={**os.environ, "PERDURE_LOG_FORMAT": "json"},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def perdure(*words: str) -> Outcome:
    async with started(*words) as process, asyncio.timeout(SECONDS_MAX):
        out, err = await process.communicate()
        assert process.returncode is not None
        return Outcome(process.returncode, out.decode(), err.decode())


async def until_ready(process: Process) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(SECONDS_MAX):
        async for line in process.stderr:
            if json.loads(line).get("state") == "ready":
                return
    raise AssertionError("the server ended before it was ready")


async def test_migrate_brings_an_empty_database_forward(empty_database_url: str) -> None:
    """What was applied is named, and a second time there is nothing to do."""
    first = await perdure("migrate", "--database-url", empty_database_url)
    again = await perdure("migrate", "--database-url", empty_database_url)
    assert (Exit.DONE, "applied 0001") == (first.status, first.out[:12])
    assert (Exit.DONE, "the schema is up to date\n", "") == again


async def test_a_server_refuses_an_old_schema(empty_database_url: str) -> None:
    """The last line says what to run."""
    outcome = await perdure("server", "--database-url", empty_database_url, "--port", "0")
    last = outcome.err.splitlines()[-1]
    assert Exit.NOT_DONE == outcome.status
    assert last.startswith("error: SCHEMA_TOO_OLD: ")
    assert last.endswith("run 'perdure migrate'")


async def test_sigterm_ends_a_server_well(database_url: str) -> None:
    """A server that is told to leave drains and ends with status 0."""
    async with started("server", "--database-url", database_url, "--port", "0") as server:
        await until_ready(server)
        server.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS_MAX):
            assert Exit.DONE == await server.wait()


async def test_a_taken_port_is_one_line(database_url: str) -> None:
    """A server that cannot listen says where, and ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        outcome = await perdure("server", "--database-url", database_url, "--port", str(port))
    last = outcome.err.splitlines()[-1]
    assert Exit.NOT_DONE == outcome.status
    assert last.startswith(f"error: CANNOT_LISTEN: cannot listen on 127.0.0.1, port {port}: ")
