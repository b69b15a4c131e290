"""The client of Restate's HTTP ingress: aiohttp with uvloop and kept connections, as perdure's own client has. Every
call of a service has an idempotency key, since a workflow of the others has an id; four short runs with and without it
showed no clear difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
import uvloop

from tests.benchmarks.peers.load import TaskJob, Tasks
from tests.benchmarks.peers.parcel import Parcel, Parcels, expect
from tests.benchmarks.peers.task import Task, run_task
from tests.benchmarks.peers.usage import CLIENT
from tests.benchmarks.peers.work import WAITING_SECONDS, Peer, Signalling

Result = TypeVar("Result")

JSON: Mapping[str, str] = {"content-type": "application/json"}
ANSWER_SECONDS_MAX = 60.0
"""Restate tries a handler that fails again and again."""
NO_HEADERS: Mapping[str, str] = {}


class IngressError(Exception):
    """Restate did not take a request."""


class Ingress:
    """Who waits for a signal has its request open meanwhile: the result comes without another one."""

    def __init__(self, task: Task, session: aiohttp.ClientSession) -> None:
        self._counts = task.counts
        self._session = session
        self._waiting: dict[int, asyncio.Task[Parcel]] = {}
        self._awakeables: dict[int, str] = {}

    async def once(self, number: int) -> None:
        expect(Parcel(number), await self._start("once", number, Parcel(number), Parcel))

    async def in_sequence(self, number: int) -> None:
        steps = self._counts.steps
        total = await self._start("in_sequence", number, Parcels(Parcel(number), steps), int)
        expect(sum(range(number, number + steps)), total)

    async def fan_out(self, number: int) -> None:
        width = self._counts.fan_width
        expect(list(range(width)), await self._start("fan_out", number, width, list[int]))

    async def wait(self, number: int) -> None:
        self._waiting[number] = asyncio.create_task(self._call(f"Approval/{number}/run", number, Parcel))
        await asyncio.sleep(WAITING_SECONDS)

    async def approve(self, number: int) -> None:
        """By the workflow's id, as perdure's signals: a handler of the workflow resolves its durable promise."""
        await self._signal(number, f"Approval/{number}/approve")

    async def wait_for_awakeable(self, number: int) -> None:
        start = self._start("wait_for_awakeable", number, number, Parcel)
        self._waiting[number] = asyncio.create_task(start)
        await asyncio.sleep(WAITING_SECONDS)
        self._awakeables[number] = await self._call("Benchmark/awakeable_of", number, str)

    async def resolve_awakeable(self, number: int) -> None:
        """By an id that the workflow gave out: no handler runs."""
        await self._signal(number, f"restate/awakeables/{self._awakeables.pop(number)}/resolve")

    async def _signal(self, number: int, path: str) -> None:
        sending = asyncio.create_task(self._call(path, Parcel(number), None))
        expect(Parcel(number), await self._waiting.pop(number))
        await sending

    async def _start(self, handler: str, number: int, argument: object, result: type[Result]) -> Result:
        key = {"idempotency-key": f"{handler}-{number}"}
        answer: Result = await self._call(f"Benchmark/{handler}", argument, result, key)
        return answer

    async def _call(
        self, path: str, argument: object, result: type[Result] | None, headers: Mapping[str, str] = NO_HEADERS
    ) -> Any:
        body = msgspec.json.encode(argument)
        async with self._session.post(f"/{path}", data=body, headers={**JSON, **headers}) as response:
            answer = await response.read()
            if not response.ok:
                raise IngressError(f"{path}: {response.status} {answer.decode(errors='replace')}")
        return None if result is None else msgspec.json.decode(answer, type=result)


async def open_session(address: str) -> aiohttp.ClientSession:
    patience = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    return aiohttp.ClientSession(address, connector=aiohttp.TCPConnector(limit=0), timeout=patience)


def make(task: Task) -> Peer[TaskJob]:
    loop = uvloop.new_event_loop()
    session = loop.run_until_complete(open_session(task.address))
    ingress = Ingress(task, session)
    return Peer(
        load=Tasks(loop),
        once=ingress.once,
        in_sequence=ingress.in_sequence,
        fan_out=ingress.fan_out,
        signalling={
            "W4": Signalling(ingress.wait, ingress.approve),
            "W4 awakeable": Signalling(ingress.wait_for_awakeable, ingress.resolve_awakeable),
        },
        close=lambda: loop.run_until_complete(session.close()),
    )


if __name__ == "__main__":
    run_task(CLIENT, make)
