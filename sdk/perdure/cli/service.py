"""What commands ask beyond the requests of a client: whole histories, whole lists, namespaces, task queues.

Values stay the JSON they are: nothing is converted on the way.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from perdure._cluster import Cluster
from perdure._connection import ConnectionOptions
from perdure._query import LONG_POLL_SECONDS
from perdure._service import Service
from perdure.cli.exits import usage_error
from perdure.converter import DataConverter
from perdure_proto.codec import decode_events
from perdure_proto.events import AnyEvent
from perdure_proto.namespaces import CreateNamespaceRequest, ListNamespacesAnswer, NamespaceInfo, UpdateNamespaceRequest
from perdure_proto.service import (
    DescribeTaskQueueAnswer,
    WorkflowExecutionInfo,
)
from perdure_proto.waitpoint_secret import RotateWaitpointSecretAnswer, RotateWaitpointSecretRequest

PAGE_MAX: Final = 500
FIRST_ANSWER_SECONDS_MAX: Final = 2.0
"""How long a person waits to hear that nothing is there."""


class ServiceOptions(Struct, frozen=True, kw_only=True):
    """Where the service is, and as whom it is asked."""

    address: str
    namespace: str = "default"
    api_key: str | None = None


class CommandService(Service):
    """The service as the command line sees it."""

    async def events(self, workflow_id: str, run_id: str, *, follow: bool = False) -> AsyncIterator[AnyEvent]:
        """The events of one run; with `follow`, also those that are still to come, until it closes."""
        after, wait = 0, LONG_POLL_SECONDS if follow else 0.0
        while True:
            answer = await self.history(workflow_id, run_id, after, wait=wait)
            events = decode_events(answer.events)
            for event in events:
                yield event
            run_id, after = answer.run_id, events[-1].event_id if events else after
            if not answer.next_event_id or (not follow and not events):
                return

    async def executions(self, query: str, limit: int) -> list[WorkflowExecutionInfo]:
        """Executions that a query finds, at most so many."""
        found: list[WorkflowExecutionInfo] = []
        cursor = ""
        while len(found) < limit:
            page = min(limit - len(found), PAGE_MAX)
            answer = await self.list_workflows(query, limit=page, order_by="", cursor=cursor)
            found += answer.executions
            cursor = answer.next_cursor
            if not cursor:
                break
        return found

    async def ready(self) -> None:
        """Raises `RPCError` while the server cannot do its work yet."""
        await self.connection.send("GET", "/readyz", None, FIRST_ANSWER_SECONDS_MAX)

    async def create_namespace(self, name: str, request: CreateNamespaceRequest) -> NamespaceInfo:
        return await self.connection.call("POST", _path("namespaces", name), request, NamespaceInfo)

    async def update_namespace(self, name: str, request: UpdateNamespaceRequest) -> NamespaceInfo:
        return await self.connection.call("POST", _path("namespaces", name, "update"), request, NamespaceInfo)

    async def namespaces(self) -> ListNamespacesAnswer:
        return await self.connection.call("GET", _path("namespaces"), None, ListNamespacesAnswer)

    async def describe_namespace(self, name: str) -> NamespaceInfo:
        return await self.connection.call("GET", _path("namespaces", name), None, NamespaceInfo)

    async def rotate_waitpoint_secret(self, grace: timedelta) -> RotateWaitpointSecretAnswer:
        request = RotateWaitpointSecretRequest(grace=grace)
        return await self.connection.call("POST", _path("waitpoint-secret"), request, RotateWaitpointSecretAnswer)

    async def task_queue(self, name: str) -> DescribeTaskQueueAnswer:
        path = _path("namespaces", self.namespace, "task-queues", name)
        return await self.connection.call("GET", path, None, DescribeTaskQueueAnswer)


@asynccontextmanager
async def connect(options: ServiceOptions) -> AsyncGenerator[CommandService]:
    """The service at an address, for as long as the block lasts.

    Raises `RPCError`: `UNAVAILABLE` soon when nothing is there, `PROTOCOL_VERSION` when the two do not fit.
    """
    try:
        connection = Cluster(options.address, ConnectionOptions(api_key=options.api_key))
    except ValueError as error:
        raise usage_error(f"--address: {error}") from None
    try:
        patience, connection.rpc_timeout = connection.rpc_timeout, FIRST_ANSWER_SECONDS_MAX
        await connection.check_version()
        connection.rpc_timeout = patience
        identity = f"{os.getpid()}@{socket.gethostname()}"
        yield CommandService(connection, options.namespace, identity=identity, converter=DataConverter())
    finally:
        await connection.close()


def _path(*parts: str) -> str:
    return "/api/v1/" + "/".join(quote(part, safe="") for part in parts)
