"""The servers' way to each other over the simulated network: the real `Peers` but for the way of one request."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Final

import aiohttp

from perdure_proto.channel import SHARD_MAP_HEADER
from perdure_server.frontend import peers as real
from perdure_server.frontend.late import SILENT_SECONDS_MAX
from perdure_server.frontend.port import Cluster
from tests.simulation.network import REFUSED, Answer, Route

ROUTE: ContextVar[Route] = ContextVar("simulated_peers_route")
"""The way out of the host whose step this is."""
NO_ANSWER: Final = 0


class SimulatedPeers(real.Peers):
    """The other servers."""

    def __init__(self, cluster: Cluster, *, key: bytes, api_key: str = "") -> None:  # the real one's opens sockets
        self._cluster = cluster
        self._headers = {SHARD_MAP_HEADER: "1", real.KEY_HEADER: real.key_text(key)}
        self._route = ROUTE.get()
        self._waiting = {}
        self._under_way = {}
        self._tasks = set()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def send(self, address: str, method: str, target: str, body: bytes) -> Answer:
        try:
            async with asyncio.timeout(SILENT_SECONDS_MAX):  # bytes that keep an answer alive are not simulated
                status, answer = await self._ask(address, method, target, body)
        except TimeoutError as error:
            raise real.NoAnswerError("no answer in time") from error
        if status == REFUSED[0]:
            raise real.NotSentError("refused")
        if status == NO_ANSWER:
            raise real.NoAnswerError("the connection broke")
        return status, answer

    async def _nudge(self, address: str) -> None:
        try:
            async with asyncio.timeout(real.LOOK_SECONDS):
                await self._ask(address, "POST", real.LOOK_PATH, b"{}")
        except TimeoutError:
            return

    async def _delivered(self, address: str, batch: list[real.Waiting]) -> list[real.Delivered]:
        body = b"[" + b",".join(each.body for each in batch) + b"]"
        async with asyncio.timeout(real.DELIVER_SECONDS):
            status, answer = await self._ask(address, "POST", real.DELIVER_PATH, body)
        if status != real.OK:
            raise aiohttp.ClientError(f"status {status}: {answer[:200]!r}")
        return real._answers.decode(answer)

    async def _ask(self, address: str, method: str, target: str, body: bytes) -> Answer:
        return await self._route.exchange(method, target, body, to=address, headers=self._headers)
