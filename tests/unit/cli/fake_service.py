"""A service on a free port that answers what a test told it to, and keeps what it was asked."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from perdure_proto.errors import ServiceError
from perdure_proto.service import VersionAnswer

Answer = object


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    params: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass
class FakeService:
    """Answers by method and raw path; several answers to one path are given one after the other."""

    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)

    def answer(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[method, path] = list(answers)

    def last(self, path: str) -> Asked:
        """The last request to a path."""
        return [asked for asked in self.asked if asked.path == path][-1]

    async def handle(self, request: web.Request) -> web.Response:
        path = request.raw_path.partition("?")[0]
        data = await request.read()
        body = msgspec.json.decode(data) if data else None
        self.asked.append(Asked(request.method, path, dict(request.query), body, dict(request.headers)))
        if path == "/api/v1/version":
            return _json(VersionAnswer(server_version="0", protocol_version=1, protocol_version_min=1, server_id="s"))
        left = self.answers.get((request.method, path))
        if not left:
            return web.Response(status=404, body=b'{"code":"NOT_FOUND","message":"no such path"}')
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, ServiceError):
            return _json(answer.body(), answer.status)
        return answer if isinstance(answer, web.Response) else _json(answer)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


@contextmanager
def serving() -> Iterator[FakeService]:
    """Runs the service in a thread: commands run loops of their own."""
    service, started, done = FakeService(), threading.Event(), threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", service.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        service.address = f"http://{host}:{port}"
        started.set()
        await asyncio.to_thread(done.wait)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait()
    try:
        yield service
    finally:
        done.set()
        thread.join()
        loop.close()
