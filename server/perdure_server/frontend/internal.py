"""What servers of one cluster ask each other, behind the cluster's key.

It must not know what is delivered.
"""

from __future__ import annotations

import asyncio
import hmac

import msgspec
from aiohttp import web
from msgspec import Raw

from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_server.frontend.admission import Admission
from perdure_server.frontend.answers import json_answer
from perdure_server.frontend.gathered import queue_names
from perdure_server.frontend.peers import DELIVERIES_TOGETHER_MAX, KEY_HEADER, deliver_answers, key_text
from perdure_server.frontend.port import Api, Cluster
from perdure_server.frontend.refusals import refusal

_bodies = msgspec.json.Decoder(list[Raw])


class Internal:
    """The endpoints. Without a `key` nobody is let in."""

    def __init__(self, api: Api, cluster: Cluster, admission: Admission) -> None:
        self.key = b""
        self._admission = admission
        self._api = api
        self._cluster = cluster

    async def deliver(self, request: web.Request) -> web.Response:
        """A batch of deliveries between workflows; each has its own answer."""
        self._check(request)
        self._admission.check_delivery()
        bodies = _bodies.decode(await request.read())
        if len(bodies) > DELIVERIES_TOGETHER_MAX:
            raise ServiceError(Code.INVALID_ARGUMENT, f"at most {DELIVERIES_TOGETHER_MAX} deliveries at a time")
        answers = await asyncio.gather(*[self._delivered(bytes(body)) for body in bodies])
        return json_answer(deliver_answers(answers))

    async def permits(self, request: web.Request) -> web.Response:
        """A letter about permits of concurrency limits."""
        self._check(request)
        return json_answer(self._api.permits(await request.read()))

    async def look(self, request: web.Request) -> web.Response:
        """Somebody knows that shards have changed hands."""
        self._check(request)
        self._cluster.look()
        return json_answer(b"{}")

    async def rates(self, request: web.Request) -> web.Response:
        """A server asks for its share of rates, or what we hold of some."""
        self._check(request)
        return json_answer(await self._api.lease_rates(await request.read()))

    async def namespaces(self, request: web.Request) -> web.Response:
        """Somebody has changed a namespace."""
        self._check(request)
        await self._api.look_at_namespaces()
        return json_answer(b"{}")

    async def task_queue(self, request: web.Request) -> web.Response:
        """What we know of a task queue."""
        self._check(request)
        asked = queue_names.decode(await request.read())
        return json_answer(encoder.encode(await self._api.describe_task_queue(asked.namespace, asked.name)))

    def is_peer(self, request: web.Request) -> bool:
        """Whether a server of this cluster asks."""
        given = request.headers.get(KEY_HEADER, "").encode(errors="replace")
        return bool(self.key) and hmac.compare_digest(given, key_text(self.key).encode())

    async def _delivered(self, body: bytes) -> bytes | ServiceError:
        try:
            return await self._api.deliver(body)
        except Exception as error:  # noqa: BLE001 - it belongs to this delivery
            return refusal(error, "POST", "a delivery")

    def _check(self, request: web.Request) -> None:
        if not self.is_peer(request):
            raise ServiceError(Code.UNAUTHENTICATED, "only servers of this cluster ask here")
