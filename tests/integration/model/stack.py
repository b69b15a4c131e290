"""A server and a worker in this process, for tests of what users write: quick to start, and every part is real."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from perdure import Client
from perdure.workflow import Workflow
from perdure_server.config import ServerSettings
from perdure_server.server import Server
from perdure_worker import Worker
from tests.integration.audit import audit
from tests.postgres import fresh_database

READY_SECONDS_MAX = 20.0
REPLAYED_FAN_OUT_MAX = 500
"""What grows with the square of its size, when each task replays all before it, is cut to so many."""

one_stimulus = pytest.mark.usefixtures("same_history")
"""For tests whose programs have one stimulus outstanding at a time: their logs are the same in each mode."""


class Stack:
    """What a test of the model runs on. Each test takes a workflow id of its own."""

    def __init__(self, client: Client, database_url: str, task_queue: str, cached: int = 1_000) -> None:
        self.cached = cached
        self.client = client
        self.database_url = database_url
        self.task_queue = task_queue
        self.replayed: Sequence[Workflow[..., Any]] | None = None
        """Workflows whose histories are replayed at the end; None: all."""

    def new_id(self) -> str:
        return f"wf-{uuid.uuid4()}"

    def fan_out(self, size: int) -> int:
        """How many branches a test may open here."""
        return size if self.cached else min(size, REPLAYED_FAN_OUT_MAX)


@asynccontextmanager
async def served(database_url: str) -> AsyncIterator[str]:
    """A server in this process; gives its address."""
    server = Server(ServerSettings(database_url=database_url, port=0, drain=timedelta(seconds=2)))
    running = asyncio.create_task(server.run())
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            await server.started.wait()
        yield f"http://127.0.0.1:{server.port}"
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@asynccontextmanager
async def stack_of(
    postgres: str, template: str, workflows: Sequence[Workflow[..., Any]], activities: Sequence[object], cached: int
) -> AsyncIterator[Stack]:
    """A stack with a worker that keeps so many workflows in memory; at its end all histories are checked."""
    async with fresh_database(postgres, template=template) as dsn:
        async with served(dsn) as address, await Client.connect(address) as client:
            queue = "model"
            async with Worker(
                client,
                task_queue=queue,
                workflows=workflows,
                activities=activities,
                max_cached_workflows=cached,
                database_url=dsn,
            ):
                stack = Stack(client, dsn, queue, cached)
                yield stack
        assert await audit(dsn, workflows if stack.replayed is None else stack.replayed)
