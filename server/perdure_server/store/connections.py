"""Connections to Postgres: how they are opened, what is set on them, and what their errors mean.

Every command has a timeout on both sides. The server's is shorter, so that a command that hangs ends with an answer
that says it was undone, not with a connection whose fate is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeAlias

import asyncpg

from perdure_server.store.port import DataRefusedError, StoreUnavailableError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECT_SECONDS_MAX = 5.0
COMMAND_SECONDS_MAX = 15.0
BACKOFF_SECONDS_MIN = 0.01
BACKOFF_SECONDS_MAX = 0.25

SESSION: Mapping[str, str] = {
    "application_name": "perdure",
    "statement_timeout": "10000",
    "jit": "off",
    # Whatever the database's default: what we acknowledge is durable.
    "synchronous_commit": "on",
    "timezone": "UTC",
}

LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError)
"""The connection is gone, or was never there; no word of a command's fate. An `InternalClientError` is a command on a
connection whose backend has said, between two commands, that it ends, and whose socket is not closed yet."""

DATA_CLASSES = ("22", "23", "54")
"""SQLSTATE classes that blame a value: data exception, constraint, a limit such as the size of an index row."""
PASSING_CLASSES = ("08", "25", "40", "53", "55", "57", "58", "XX")
"""Classes that blame the moment: connection, read-only standby, deadlock, resources, lock timeout, operator, system."""


async def connect(
    dsn: str, settings: Mapping[str, str] | None = None, command_seconds: float = COMMAND_SECONDS_MAX
) -> Connection:
    """A new connection that passes JSON as bytes. Raises `StoreUnavailableError`."""
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=command_seconds,
            server_settings={**SESSION, **(settings or {})},
        )
    except (*LOST, asyncpg.PostgresError) as error:
        raise StoreUnavailableError(f"cannot connect to Postgres: {error}") from error
    try:
        await prepare_codecs(connection)
    except (*LOST, asyncpg.PostgresError) as error:
        connection.terminate()
        raise StoreUnavailableError(f"the connection to Postgres was lost: {error}") from error
    return connection


async def prepare_codecs(connection: Connection) -> None:
    """JSON crosses undecoded, in both directions."""
    await connection.set_type_codec("json", schema="pg_catalog", encoder=undecoded, decoder=undecoded, format="binary")


def undecoded(value: bytes) -> bytes:
    return value


def understand(error: Exception) -> Exception:
    """The port's error for an answer of Postgres that undid the command; the error itself if it is our mistake."""
    if isinstance(error, asyncpg.DataError):  # also a value that did not fit on our side
        return DataRefusedError(str(error))
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state.startswith(DATA_CLASSES):
            return DataRefusedError(str(error))
        if state.startswith(PASSING_CLASSES):
            return StoreUnavailableError(str(error))
    return error


class Backoff:
    """Pauses that grow while nothing succeeds."""

    def __init__(self) -> None:
        self._next = 0.0

    async def pause(self) -> None:
        """Wait if the last attempt failed."""
        if self._next:
            await asyncio.sleep(self._next)

    def failed(self) -> None:
        self._next = min(max(self._next * 2, BACKOFF_SECONDS_MIN), BACKOFF_SECONDS_MAX)

    def succeeded(self) -> None:
        self._next = 0.0
