"""A proxy before Postgres that can lose an answer.

It passes the next request on, sees that it was answered, and cuts the connection without handing the answer over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit


class AnswerLoss:
    """Give `dsn` to the store; `lose_next_answer()` arms it."""

    def __init__(self, dsn: str, folder: Path) -> None:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        self._socket = Path(query["host"][0]) / f".s.PGSQL.{query['port'][0]}"
        self._own_socket = folder / f".s.PGSQL.{query['port'][0]}"
        self.dsn = urlunsplit(parts._replace(query=f"host={quote(str(folder), safe='')}&port={query['port'][0]}"))
        self._armed = False
        self._passing: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    def lose_next_answer(self) -> None:
        self._armed = True

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[AnswerLoss]:
        server = await asyncio.start_unix_server(self._serve, self._own_socket)
        try:
            yield self
        finally:
            server.close()
            for task in self._passing:
                task.cancel()
            await asyncio.gather(*self._passing, return_exceptions=True)
            await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(self._socket)
        self._writers += [writer, up_writer]
        for passing in (self._pass(reader, up_writer), self._answer(up_reader, writer)):
            task = asyncio.ensure_future(passing)
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._armed:
                    self._armed = False
                    break
                writer.write(data)
