"""A proxy before a server that loses answers of channels: it reads the frames, and passes HTTP on unharmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from yarl import URL

from perdure_proto.channel import CANCEL, CHANNEL_PATH, decode_answers, decode_requests, encode_answer, frame
from tests.integration.faults.proxy import Loses

PASSED_ON = ("authorization", "content-type", "perdure-protocol")


class ChannelProxy:
    """Cuts a channel in place of each answer that `loses` names; what its frame says before is delivered."""

    def __init__(self, port: int, loses: Loses, session: aiohttp.ClientSession) -> None:
        self._server = f"http://127.0.0.1:{port}"
        self._loses = loses
        self._session = session
        self.app = web.Application(client_max_size=2**30)
        self.app.router.add_get(CHANNEL_PATH, self._relay)
        self.app.router.add_route("*", "/{path:.*}", self._pass_on)
        self.address = ""
        self.lost = 0

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        """A request of its own."""
        url = URL(self._server + request.raw_path, encoded=True)
        body = await request.read()
        async with self._session.request(request.method, url, data=body, headers=headers_of(request)) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        """A channel, until one side closes or an answer is lost."""
        down = web.WebSocketResponse(max_msg_size=0)
        await down.prepare(request)
        url = self._server + CHANNEL_PATH
        async with self._session.ws_connect(url, headers=headers_of(request), max_msg_size=0) as up:
            targets: dict[int, str] = {}
            ways = [
                asyncio.create_task(self._forth(down, up, targets)),
                asyncio.create_task(self._back(up, down, targets)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        # No closing frame: this is how a broken connection looks.
        if request.transport is not None:
            request.transport.close()
        return down

    async def _forth(
        self, down: web.WebSocketResponse, up: aiohttp.ClientWebSocketResponse, targets: dict[int, str]
    ) -> None:
        async for message in down:
            for request in decode_requests(message.data):
                if request.method != CANCEL:
                    targets[request.id] = request.target
            await up.send_bytes(message.data)

    async def _back(
        self, up: aiohttp.ClientWebSocketResponse, down: web.WebSocketResponse, targets: dict[int, str]
    ) -> None:
        async for message in up:
            items: list[bytes] = []
            lost = False
            for answer in decode_answers(message.data):
                body = bytes(answer.body)
                if lost := self._loses(targets.pop(answer.id), body):
                    break
                items.append(encode_answer(answer.id, answer.status, body))
            await down.send_bytes(frame(items))
            if lost:
                self.lost += 1
                return


def headers_of(request: web.Request) -> dict[str, str]:
    """Those that mean something to the server."""
    return {name: request.headers[name] for name in PASSED_ON if name in request.headers}


@asynccontextmanager
async def channel_proxy_to(port: int, loses: Loses) -> AsyncIterator[ChannelProxy]:
    """A proxy to a port of this machine."""
    async with aiohttp.ClientSession(skip_auto_headers=("content-type",)) as session:
        proxy = ChannelProxy(port, loses, session)
        runner = web.AppRunner(proxy.app, handler_cancellation=True, access_log=None, shutdown_timeout=0.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield proxy
        finally:
            await runner.cleanup()
