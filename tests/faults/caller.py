"""A client as a careful user writes it: what may be repeated is repeated until the answer is known."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from perdure import Client
from perdure.client import WorkflowHandle
from perdure.exceptions import RPCError
from perdure_proto.errors import Code
from tests.faults.journal import Answer, Journal

T = TypeVar("T")

RPC_TIMEOUT = timedelta(seconds=10)


class WrongError(Exception):
    """A promise was broken, as a client sees it."""


class Caller:
    """One program's client. It turns to another server when one did not answer."""

    def __init__(self, clients: Sequence[Client], journal: Journal, id: str, chance: random.Random) -> None:
        self._clients = clients
        self._turn = chance.randrange(len(clients))
        self.journal = journal
        self.id = id
        self.chance = chance

    @property
    def client(self) -> Client:
        return self._clients[self._turn % len(self._clients)]

    def handle(self, workflow_id: str | None = None) -> WorkflowHandle[Any]:
        """A workflow of ours, over the client of this moment."""
        return self.client.get_workflow_handle(workflow_id or self.id)

    async def once(self, kind: str, ask: Callable[[], Awaitable[T]], *, patience: float | None = None) -> Answer[T]:
        """A call that a repeat would do twice; one that has lost its patience drops it."""
        answer = await self.journal.call(kind, self.id, ask, patience=patience)
        self._turn += not answer.known
        return answer

    async def patiently(self, kind: str, ask: Callable[[], Awaitable[T]]) -> T:
        """A call that may be repeated, until it is known what came of it; each time over the client of that moment."""
        while not (answer := await self.once(kind, ask)).known:
            pass
        return answer.value  # type: ignore[return-value]  # it is known

    async def start(self, workflow: Any, *args: Any, id: str | None = None) -> WorkflowHandle[Any]:
        """Start a workflow, once however often it is asked for."""
        workflow_id = id or self.id

        async def ask() -> WorkflowHandle[Any]:
            request_id = f"start-{workflow_id}"
            handle: WorkflowHandle[Any] = await self.client.start_workflow(
                workflow, *args, id=workflow_id, request_id=request_id
            )
            return handle

        return await self.patiently("start", ask)

    async def update(self, update: Any, *args: Any, id: str) -> Any:
        """An update, once however often it is asked for."""
        return await self.patiently("update", lambda: self.handle().execute_update(update, *args, id=id))

    async def query(self, query: Any) -> Any:
        return await self.patiently("query", lambda: self.handle().query(query))

    async def result(self, workflow_id: str | None = None) -> Any:
        value = await self.patiently("result", lambda: self.handle(workflow_id).result())
        self.journal.results[workflow_id or self.id] = value
        return value

    async def end(self, signal: Any, *args: Any) -> None:
        """A signal after which the workflow ends: one that has ended has heard it before."""
        try:
            await self.patiently("signal", lambda: self.handle().signal(signal, *args))
        except RPCError as error:
            if error.code != Code.WORKFLOW_CLOSED:
                raise


def expect(expected: object, found: object, what: str) -> None:
    if expected != found:
        raise WrongError(f"{what}: expected {expected!r}, found {found!r}")
