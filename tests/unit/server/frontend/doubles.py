"""A frontend on a free port, an API that answers with the examples, and a client that sends raw targets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from perdure_proto.errors import Code, ServiceError
from perdure_server.config import Limits, ServerSettings
from perdure_server.frontend import Frontend, FrontendOptions, OutcomeWait, Readiness
from perdure_server.frontend.examples import ANSWERS
from perdure_server.frontend.port import Cluster, Whole

SETTINGS = ServerSettings(port=0)
OWN = frozenset({"version", "describe_cluster"})
"""What the edge answers by itself."""


class ExampleApi:
    """Answers every operation with its example; `asked` is what it was asked, in order.

    An operation in `fails` raises; one in `waits` answers when its wait is 0 or its event is set.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.fails: dict[str, Exception] = {}
        self.waits: dict[str, asyncio.Event] = {}
        self.fails_after: dict[str, Exception] = {}
        """What an operation raises when its wait is over."""
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        if name not in ANSWERS:
            raise AttributeError(name)

        async def operation(*arguments: Any) -> Struct:
            return await self.operation(name, arguments)

        return operation

    async def operation(self, name: str, arguments: tuple[Any, ...]) -> Struct:
        self.asked.append((name, arguments))
        if name in self.fails:
            raise self.fails[name]
        if name in self.waits and not answers_at_once(arguments[-1]):
            self.waiting.set()
            try:
                await self.waits[name].wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            if name in self.fails_after:
                raise self.fails_after[name]
        if name == "describe_namespace" and arguments[0] == "missing":
            raise ServiceError(Code.NAMESPACE_NOT_FOUND, "no namespace 'missing'")
        return ANSWERS[name]

    def last(self, name: str) -> tuple[Any, ...]:
        return next(arguments for asked, arguments in reversed(self.asked) if asked == name)


def answers_at_once(wait: Any) -> bool:
    return wait == 0 or (isinstance(wait, OutcomeWait) and wait.wait_s == 0)


class FixedHealth:
    def __init__(self) -> None:
        self.state = Readiness(state="ready")

    def readiness(self) -> Readiness:
        return self.state


class Answer(Struct):
    """A status and a decoded body."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        code: str = self.body["code"]
        return code


class House:
    """The frontend, and a client of it."""

    def __init__(self, frontend: Frontend, api: ExampleApi, health: FixedHealth, client: aiohttp.ClientSession) -> None:
        self.frontend = frontend
        self.api = api
        self.health = health
        self.client = client

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.frontend.port}"

    async def send(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request to an encoded target; underscores in header names are dashes."""
        named = {"Content-Type": "application/json"} if method == "POST" else {}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = URL(self.address + target, encoded=True)
        async with self.client.request(method, url, data=body, headers=named) as answer:
            return Answer(answer.status, msgspec.json.decode(await answer.read()), dict(answer.headers))

    async def get(self, target: str, **headers: str) -> Answer:
        return await self.send("GET", target, None, **headers)

    async def post(self, target: str, body: Any = None, **headers: str) -> Answer:
        return await self.send("POST", target, b"" if body is None else msgspec.json.encode(body), **headers)


@asynccontextmanager
async def house(
    settings: ServerSettings = SETTINGS, *hosts: str, cluster: Cluster | None = None
) -> AsyncIterator[House]:
    api, health = ExampleApi(), FixedHealth()
    options = FrontendOptions(server_version="1.2.3", hosts=frozenset(hosts), cluster=cluster or Whole())
    frontend = Frontend(api, health, settings, options)
    await frontend.start()
    try:
        async with aiohttp.ClientSession(skip_auto_headers=("Content-Type",)) as client:
            yield House(frontend, api, health, client)
    finally:
        for event in api.waits.values():
            event.set()
        await frontend.close()


def with_limits(**limits: Any) -> ServerSettings:
    return msgspec.structs.replace(SETTINGS, limits=Limits(**limits))


def can_connect(port: int) -> bool:
    """Whether anything listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
