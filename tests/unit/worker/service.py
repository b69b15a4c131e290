"""A small HTTP server that speaks the worker protocol as a test tells it to.

Each request that arrives is put on `polls` or `responds` with a way to answer it: the test decides what is answered
and when. Nothing is answered by itself except `leave`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import msgspec
from aiohttp import web
from msgspec import Raw

from perdure_proto.cluster import ClusterAnswer
from perdure_proto.codec import encode_events, encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import AnyEvent
from perdure_proto.service import HistoryAnswer, VersionAnswer
from perdure_proto.tasks import (
    AnyPush,
    AnyTask,
    CompletionResult,
    LeaveRequest,
    PollAnswer,
    PollRequest,
    RespondAnswer,
    RespondRequest,
)

Request = TypeVar("Request", PollRequest, RespondRequest)


class Arrived(Generic[Request]):
    """A request that waits for the test to answer it."""

    def __init__(self, request: Request, transport: asyncio.Transport | None) -> None:
        self.request: Request = request
        self.answered: asyncio.Future[bytes | ServiceError] = asyncio.get_running_loop().create_future()
        self._transport = transport

    @property
    def tokens(self) -> list[str]:
        """The tasks of which a respond speaks."""
        assert isinstance(self.request, RespondRequest)
        return [completion.token for completion in self.request.completions]

    def answer(self, *tasks: AnyTask, pushes: tuple[AnyPush, ...] = ()) -> None:
        sequence = self.request.sequence
        if isinstance(self.request, PollRequest):
            self._send(encoder.encode(PollAnswer(sequence=sequence, tasks=tasks, pushes=pushes)))
            return
        results = tuple(CompletionResult() for _ in self.request.completions)
        self._send(encoder.encode(RespondAnswer(sequence=sequence, results=results, tasks=tasks, pushes=pushes)))

    def results(self, *results: CompletionResult) -> None:
        self._send(encoder.encode(RespondAnswer(sequence=self.request.sequence, results=results)))

    def refuse(self, error: ServiceError) -> None:
        if not self.answered.done():
            self.answered.set_result(error)

    def cut(self) -> None:
        """Closes the connection instead of answering."""
        assert self._transport is not None
        self._transport.abort()

    def _send(self, body: bytes) -> None:
        if not self.answered.done():
            self.answered.set_result(body)


class Service:
    """What arrived, in order."""

    def __init__(self) -> None:
        self.polls: asyncio.Queue[Arrived[PollRequest]] = asyncio.Queue()
        self.responds: asyncio.Queue[Arrived[RespondRequest]] = asyncio.Queue()
        self.left: list[LeaveRequest] = []
        self.histories: dict[str, list[list[AnyEvent]]] = {}
        """Pages of each workflow's history."""
        self.histories_read = 0
        self.address = ""
        self.name = "test"
        self.cluster: ClusterAnswer | None = None
        """Who is there; an older service does not know the question."""
        self.looks = 0
        self.others: dict[str, Service] = {}
        """Those to whom it passes on what names them."""

    def meant(self, request: web.Request) -> Service:
        """Whom a request is for."""
        return self.others.get(request.query.get("server", ""), self)

    async def poll(self, request: web.Request) -> web.Response:
        arrived = Arrived(msgspec.json.decode(await request.read(), type=PollRequest), request.transport)
        self.meant(request).polls.put_nowait(arrived)
        return respond(await arrived.answered)

    async def respond(self, request: web.Request) -> web.Response:
        arrived = Arrived(msgspec.json.decode(await request.read(), type=RespondRequest), request.transport)
        self.meant(request).responds.put_nowait(arrived)
        return respond(await arrived.answered)

    async def leave(self, request: web.Request) -> web.Response:
        self.meant(request).left.append(msgspec.json.decode(await request.read(), type=LeaveRequest))
        return respond(b"{}")

    async def version(self, request: web.Request) -> web.Response:
        answer = VersionAnswer(server_version="0", protocol_version=1, protocol_version_min=1, server_id=self.name)
        return respond(encoder.encode(answer))

    async def who(self, request: web.Request) -> web.Response:
        self.looks += 1
        if self.cluster is None:
            return respond(ServiceError(Code.NOT_FOUND, "no such path"))
        return respond(encoder.encode(self.cluster))

    async def history(self, request: web.Request) -> web.Response:
        after = int(request.query["after"])
        pages = self.histories[request.match_info["workflow"]]
        page = next(
            ([event for event in page if event.event_id > after] for page in pages if page[-1].event_id > after), []
        )
        self.histories_read += after == 0
        return respond(encoder.encode(HistoryAnswer(run_id="r", events=Raw(encode_events(page)))))


def respond(answer: bytes | ServiceError) -> web.Response:
    if isinstance(answer, ServiceError):
        return web.Response(status=answer.status, body=encoder.encode(answer.body()), content_type="application/json")
    return web.Response(body=answer, content_type="application/json")


@asynccontextmanager
async def serve() -> AsyncIterator[Service]:
    """A service on a free port of this machine."""
    service = Service()
    app = web.Application()
    queue = "/api/v1/namespaces/default/task-queues/default"
    app.router.add_post(f"{queue}/poll", service.poll)
    app.router.add_post(f"{queue}/respond", service.respond)
    app.router.add_get("/api/v1/version", service.version)
    app.router.add_get("/api/v1/cluster", service.who)
    app.router.add_get("/api/v1/namespaces/default/workflows/{workflow}/history", service.history)
    app.router.add_post(f"{queue}/leave", service.leave)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
