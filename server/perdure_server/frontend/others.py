"""The other servers asked by one: each by itself, or all at once, with a bounded wait. It must not know about what."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from perdure_proto.errors import Code, ServiceError
from perdure_server.frontend.peers import OK, NoAnswerError, NotSentError, Peers
from perdure_server.frontend.port import Cluster

PERMITS_PATH = "/internal/v1/permits"
RATES_PATH = "/internal/v1/rates"
NAMESPACES_PATH = "/internal/v1/namespaces"
TASK_QUEUE_PATH = "/internal/v1/task-queue"

RATES_SECONDS = 1.0
PERMITS_SECONDS = 2.0
ALL_SECONDS = 2.0
"""How long somebody who asks all waits for the slowest."""


class Others:
    """The servers that live, but this one. Until `peers` is set there are none to ask."""

    def __init__(self, server: str, cluster: Cluster) -> None:
        self.server = server
        self.peers: Peers | None = None
        self._cluster = cluster

    def names(self) -> Sequence[str]:
        """All that live, this one too."""
        return [member.server for member in self._cluster.answer().members]

    def staying(self) -> Sequence[str]:
        """Those that are not about to leave."""
        return [member.server for member in self._cluster.answer().members if not member.leaving]

    async def ask_rates(self, server: str, body: bytes) -> bytes:
        """About rates. Raises `ServiceError`."""
        return await self._ask(self._address_of(server), RATES_PATH, body, RATES_SECONDS)

    async def ask_permits(self, server: str, body: bytes) -> bytes:
        """About permits of concurrency limits. Raises `ServiceError`."""
        return await self._ask(self._address_of(server), PERMITS_PATH, body, PERMITS_SECONDS)

    async def ask_all(self, path: str, body: bytes) -> tuple[dict[str, bytes], list[str]]:
        """The answers of all others by name, and those that did not answer in time."""
        members = [member for member in self._cluster.answer().members if member.server != self.server]
        answers = await asyncio.gather(
            *[self._ask(member.address, path, body, ALL_SECONDS) for member in members], return_exceptions=True
        )
        heard: dict[str, bytes] = {}
        silent: list[str] = []
        for member, answer in zip(members, answers, strict=True):
            match answer:
                case bytes():
                    heard[member.server] = answer
                case ServiceError():
                    silent.append(member.server)
                case _:
                    raise answer
        return heard, silent

    def _address_of(self, server: str) -> str:
        return next((each.address for each in self._cluster.answer().members if each.server == server), "")

    async def _ask(self, address: str, path: str, body: bytes, seconds: float) -> bytes:
        if self.peers is None or not address:
            raise ServiceError(Code.UNAVAILABLE, "no such server is known")
        try:
            async with asyncio.timeout(seconds):
                status, answer = await self.peers.send(address, "POST", path, body)
        except TimeoutError:
            raise ServiceError(Code.UNAVAILABLE, f"{address} did not answer in {seconds:g} s") from None
        except (NotSentError, NoAnswerError) as error:
            raise ServiceError(Code.UNAVAILABLE, f"{address} cannot be asked: {error}") from None
        if status != OK:
            raise ServiceError(Code.UNAVAILABLE, f"{address} refused with status {status}")
        return answer
