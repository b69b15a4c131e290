"""Requests answered here, or by the server that owns what they are about.

The engine refuses what belongs to another server before anything has happened. Who keeps a map of shards is told the
owner and goes there; for everyone else the request is passed on. While a shard is on its way from one server to
another nobody takes it: the request waits for that.

Law: a request is passed on a second time only if nothing can have happened the first time, or if asking twice is safe.
It must not know what is asked.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog

from perdure_proto.errors import Code, ServiceError
from perdure_server.frontend.asked import Asked
from perdure_server.frontend.operations import Operations
from perdure_server.frontend.peers import OK, NoAnswerError, NotSentError, Peers
from perdure_server.frontend.port import Cluster

HAND_OVER_SECONDS_MAX = 15.0
"""How long a request waits for an owner: longer than it takes to notice that one is dead."""
LOOK_EVERY_SECONDS = 0.25
LAST_WORDS_SECONDS = 2.0
"""A former owner may still answer what it had begun."""
WRONG_OWNER = 421

log = structlog.get_logger(__name__)

Answer = tuple[int, bytes]


class Forwarding:
    """The operations of the whole cluster. `drain` ends the waiting of what was passed on."""

    def __init__(self, operations: Operations, cluster: Cluster) -> None:
        self.peers: Peers | None = None
        self._operations = operations
        self._cluster = cluster
        self._draining = asyncio.Event()
        self._running: set[asyncio.Task[Any]] = set()
        self._given_up: set[asyncio.Task[Any]] = set()

    def drain(self) -> None:
        """What waits elsewhere is asked for again without the wait."""
        self._draining.set()

    def give_up(self) -> None:
        """This server is cut off: what waits here is told to go elsewhere, as is what comes (`answer`)."""
        self._given_up |= self._running
        for task in self._running:
            task.cancel()

    async def answer(self, asked: Asked, *, keeps_map: bool) -> Answer:
        """The answer of this server, or of the one that has to be asked. Raises what `refusal` understands."""
        task = self.begin(asked)
        try:
            return await self._answer(asked, keeps_map=keeps_map)
        except asyncio.CancelledError:
            raise self.reason_of(task) from None
        finally:
            self.end(task)

    async def _answer(self, asked: Asked, *, keeps_map: bool) -> Answer:
        if asked.member:
            return await self.of_member(asked, keeps_map=keeps_map)
        try:
            return OK, await self._operations.run(asked)
        except ServiceError as error:
            if keeps_map or not is_elsewhere(error):
                raise
            return await self.elsewhere(asked, error)

    def begin(self, asked: Asked) -> asyncio.Task[Any]:
        """From now on this task may be given up. Raises where this server cannot know what it is asked."""
        self.check_in_touch(asked)
        task = asyncio.current_task()
        assert task is not None, "requests are served in tasks"
        self._running.add(task)
        return task

    def end(self, task: asyncio.Task[Any]) -> None:
        """It is over."""
        self._running.discard(task)
        self._given_up.discard(task)

    def reason_of(self, task: asyncio.Task[Any]) -> BaseException:
        """Why it was cancelled, if it was given up; else its caller has gone."""
        if task not in self._given_up:
            return asyncio.CancelledError()
        task.uncancel()
        return self.cut_off()

    def check_in_touch(self, asked: Asked) -> None:
        """Raises where this server cannot know what it is asked."""
        if self._cluster.cut_off and asked.route.in_cluster:
            raise self.cut_off()

    def cut_off(self) -> ServiceError:
        """What callers of a server get that may have lost its shards without knowing."""
        reason = "this server has not heard of Postgres for so long that others may have its shards: ask another"
        return ServiceError(Code.UNAVAILABLE, reason, cut_off=self._cluster.cut_off)

    async def of_member(self, asked: Asked, *, keeps_map: bool) -> Answer:
        """The answer of the server that a request names."""
        way = self._cluster.way_to(asked.member)
        if way == "":
            return OK, await self._operations.run(asked)
        return await self._of_member(asked, None if keeps_map else way)

    async def _of_member(self, asked: Asked, address: str | None) -> Answer:
        """A member's own answer. It is sent once: a worker repeats what it knows to be safe to repeat."""
        if address is None or self.peers is None:
            self._cluster.look()
            raise ServiceError(Code.UNAVAILABLE, f"no server {asked.member!r} is known here: try again")
        sending = asyncio.ensure_future(self.peers.send(address, asked.route.method, *asked.onward()))
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({sending, draining}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ServiceError(Code.UNAVAILABLE, "this server is going away: ask another")
            return sending.result()
        except (NotSentError, NoAnswerError) as error:
            raise ServiceError(
                Code.UNAVAILABLE, f"server {asked.member!r} did not answer this one ({error}): try again"
            ) from error
        finally:
            sending.cancel()
            draining.cancel()
            await asyncio.gather(sending, draining, return_exceptions=True)

    async def elsewhere(self, asked: Asked, refused: ServiceError) -> Answer:
        """Asks owner after owner, this server too should it become that, until one takes the request.

        Raises what `refusal` understands.
        """
        deadline = time.monotonic() + HAND_OVER_SECONDS_MAX
        while True:
            shard_id: int = refused.details["shard"]
            answer = await self._passed_on(asked, shard_id)
            if answer is not None and answer[0] != WRONG_OWNER:
                return answer
            if time.monotonic() >= deadline or (answer is None and self._draining.is_set()):
                raise ServiceError(Code.UNAVAILABLE, f"no server takes shard {shard_id} now: try again")
            self._cluster.look()
            await self._cluster.changed(LOOK_EVERY_SECONDS)
            try:
                return OK, await self._operations.run(asked)
            except ServiceError as error:
                if not is_elsewhere(error):
                    raise
                refused = error

    async def _passed_on(self, asked: Asked, shard_id: int) -> Answer | None:
        """None: nobody was asked, or asking again is safe."""
        address = self._cluster.address_of(shard_id)
        if not address or self.peers is None:
            return None
        try:
            return await self._sent(asked, shard_id, address)
        except NotSentError as error:
            log.info("not_passed_on", address=address, shard_id=shard_id, reason=str(error))
            return None
        except NoAnswerError as error:
            if asked.route.method == "GET":
                return None
            raise ServiceError(
                Code.UNAVAILABLE,
                f"the server that owns shard {shard_id} went away before it answered ({error}): repeat the request "
                "with the same request id",
            ) from error

    async def _sent(self, asked: Asked, shard_id: int, address: str) -> Answer:
        """The owner's answer; it is not waited for when another owns the shard by then."""
        assert self.peers is not None, "only servers with peers pass on"
        draining = self._draining.is_set()
        target, body = asked.at_once() if draining else asked.onward()
        sending = asyncio.ensure_future(self.peers.send(address, asked.route.method, target, body))
        ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._until_moved(shard_id, address))]
        if asked.waits and not draining and asked.route.method == "GET":
            ends.append(asyncio.ensure_future(self._draining.wait()))
        try:
            await asyncio.wait({sending, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                return sending.result()
            if ends[0].done():
                raise NoAnswerError(f"shard {shard_id} has moved from {address}")
            sending.cancel()
            return await self._sent(asked, shard_id, address)
        finally:
            for task in (sending, *ends):
                task.cancel()
            await asyncio.gather(sending, *ends, return_exceptions=True)

    async def _until_moved(self, shard_id: int, address: str) -> None:
        while self._cluster.address_of(shard_id) == address:
            await self._cluster.changed(HAND_OVER_SECONDS_MAX)
        await asyncio.sleep(LAST_WORDS_SECONDS)


def is_elsewhere(error: ServiceError) -> bool:
    """Whether the engine says that another server owns the shard."""
    return error.code is Code.WRONG_OWNER and "shard" in error.details
