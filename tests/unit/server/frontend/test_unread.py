"""Connections whose far end does not read, and more connections than there may be."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from perdure_server.frontend.listening import OPEN_FILES_RESERVED, allowed
from perdure_server.frontend.unread import Unread
from tests.unit.server.frontend.doubles import house, with_limits


class Pipe:
    """A transport with so much unsent."""

    def __init__(self, unsent: int) -> None:
        self.unsent = unsent
        self.is_cut = False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, _: str) -> None:
        return None

    def abort(self) -> None:
        self.is_cut = True


def look(unread: Unread, pipe: Pipe, now: float) -> bool:
    unread.sweep([cast("asyncio.Transport", pipe)], now)
    return pipe.is_cut


def test_a_reader_that_stops_is_cut_after_a_while() -> None:
    """What is unsent may grow or stay for so long, and not longer."""
    unread, pipe = Unread(10.0), Pipe(100)
    assert not look(unread, pipe, 0.0)
    pipe.unsent = 200
    assert not look(unread, pipe, 9.9)
    assert look(unread, pipe, 10.0)


@pytest.mark.parametrize("later", [99, 0])
def test_a_reader_that_reads_is_left_alone(later: int) -> None:
    """Each time that less is unsent the time begins anew."""
    unread, pipe = Unread(10.0), Pipe(100)
    look(unread, pipe, 0.0)
    pipe.unsent = later
    assert not look(unread, pipe, 9.0)
    pipe.unsent = 99
    assert not look(unread, pipe, 18.0)


@pytest.mark.parametrize(
    ("connections_max", "open_files", "expected"),
    [
        (20_000, None, 20_000),
        (20_000, 100_000, 20_000),
        (20_000, 20_000 + OPEN_FILES_RESERVED, 20_000),
        (20_000, 1_024, 1_024 - OPEN_FILES_RESERVED),
        (20_000, 256, 128),
        (50, 1_024, 50),
    ],
)
def test_open_files_bound_the_connections(connections_max: int, open_files: int | None, expected: int) -> None:
    """Some files are kept for other things than connections of callers."""
    assert expected == allowed(connections_max, open_files)


async def test_one_connection_too_many_is_told_so() -> None:
    """It is answered at once, whatever it was about to ask, and closed; the others stay."""
    async with house(with_limits(connections_max=1)) as at:
        assert 200 == (await at.get("/healthz")).status
        reader, writer = await asyncio.open_connection("127.0.0.1", at.frontend.port)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert b"connections_max" in answer
        assert 200 == (await at.get("/healthz")).status
        writer.close()
        await writer.wait_closed()
