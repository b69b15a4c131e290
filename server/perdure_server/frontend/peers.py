"""The other servers of the cluster, asked over HTTP: requests passed on, deliveries between workflows, nudges.

Deliveries to one server gather while others are under way, so that they travel in batches under load and at once
without it. Every call carries the cluster's key, which all servers read from the database. It must not know what it
carries.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, NamedTuple

import aiohttp
import msgspec
import structlog
from msgspec import Raw, Struct
from yarl import URL

from perdure_proto import PROTOCOL_VERSION
from perdure_proto.channel import SHARD_MAP_HEADER
from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ErrorBody, ServiceError
from perdure_server.frontend.guard import JSON, PROTOCOL_HEADER
from perdure_server.frontend.late import KEEP_ALIVE_HEADER, LATE_HEADER, SILENT_SECONDS_MAX, late_answer
from perdure_server.frontend.port import Cluster

DELIVER_PATH = "/internal/v1/deliver"
LOOK_PATH = "/internal/v1/look"
KEY_HEADER = "perdure-cluster-key"

OK = 200
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 75.0
"""The longest poll, and some time for its answer."""
DELIVER_SECONDS = 10.0
LOOK_SECONDS = 1.0
BATCHES_UNDER_WAY_MAX = 2
DELIVERIES_TOGETHER_MAX = 200
BATCH_BYTES_MAX = 4_000_000
CONNECTIONS_MAX = 1_000

log = structlog.get_logger(__name__)


class Delivered(Struct, frozen=True, omit_defaults=True):
    """What became of one delivery of a batch."""

    status: int
    body: Raw


class NotSentError(Exception):
    """The server could not be reached: nothing was asked."""


class NoAnswerError(Exception):
    """The connection ended before the answer: it may have been done."""


class Waiting(NamedTuple):
    """A delivery that has not left yet."""

    body: bytes
    answered: asyncio.Future[bytes]


class Peers:
    """Connections to the other servers. `close` ends what is under way."""

    def __init__(self, cluster: Cluster, *, key: bytes, api_key: str = "") -> None:
        self._cluster = cluster
        headers = {
            PROTOCOL_HEADER: str(PROTOCOL_VERSION),
            "content-type": JSON,
            SHARD_MAP_HEADER: "1",
            KEY_HEADER: key_text(key),
            KEEP_ALIVE_HEADER: "1",
        }
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS_MAX
            ),
        )
        self._waiting: dict[str, deque[Waiting]] = {}
        self._under_way: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Ends what is under way: whoever waits for it asks again."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def send(self, address: str, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """A request as it came. Raises `NotSentError`, or `NoAnswerError`, also of a server that has become silent."""
        url = URL(address + target, encoded=True)
        try:
            async with self._session.request(method, url, data=body or None) as answer:
                read = await answer.read()
                return late_answer(read) if LATE_HEADER in answer.headers else (answer.status, read)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSentError(str(error)) from error
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError) as error:
            raise NoAnswerError(str(error) or type(error).__name__) from error

    async def deliver(self, shard_id: int, body: bytes) -> bytes:
        """Takes deliveries to the owner of a shard. Raises `ServiceError`; the lane tries again."""
        address = self._cluster.address_of(shard_id)
        if not address:
            self._cluster.look()
            raise ServiceError(Code.UNAVAILABLE, f"nobody is known to own shard {shard_id}: try again")
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, deque()).append(Waiting(body, answered))
        self._start(address)
        return await answered

    def nudge(self, servers: Collection[str]) -> None:
        """Lets these servers look now who owns what; who does not hear it looks at its next heartbeat."""
        addresses = {member.server: member.address for member in self._cluster.answer().members}
        for server in servers:
            if address := addresses.get(server, ""):
                self._spawn(self._nudge(address))

    async def _nudge(self, address: str) -> None:
        timeout = aiohttp.ClientTimeout(total=LOOK_SECONDS)
        try:
            async with self._session.post(address + LOOK_PATH, data=b"{}", timeout=timeout) as answer:
                await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.debug("nudge_not_heard", address=address, reason=str(error) or type(error).__name__)

    def _start(self, address: str) -> None:
        if self._waiting.get(address) and self._under_way.get(address, 0) < BATCHES_UNDER_WAY_MAX:
            self._under_way[address] = self._under_way.get(address, 0) + 1
            self._spawn(self._deliver_all(address))

    async def _deliver_all(self, address: str) -> None:
        """Batch after batch, until nothing waits."""
        try:
            while self._waiting.get(address):
                await asyncio.sleep(0)  # what else leaves in this turn of the loop
                if waiting := self._waiting.get(address):  # the other batch may have taken all
                    await self._deliver(address, cut(waiting))
        finally:
            self._under_way[address] -= 1
            if not self._under_way[address] and not self._waiting.get(address):
                del self._under_way[address]
                self._waiting.pop(address, None)

    async def _deliver(self, address: str, batch: list[Waiting]) -> None:
        try:
            answers = await self._delivered(address, batch)
        except asyncio.CancelledError:
            _refuse(batch, "the server stops")
            raise
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError) as error:
            _refuse(batch, f"the server at {address} did not take it: {str(error) or type(error).__name__}")
            self._cluster.look()
            return
        for each, answer in zip(batch, answers, strict=True):
            _settle(each.answered, answer)

    async def _delivered(self, address: str, batch: list[Waiting]) -> list[Delivered]:
        body = b"[" + b",".join(each.body for each in batch) + b"]"
        timeout = aiohttp.ClientTimeout(total=DELIVER_SECONDS, sock_connect=CONNECT_SECONDS)
        async with self._session.post(address + DELIVER_PATH, data=body, timeout=timeout) as answer:
            if answer.status != OK:
                raise aiohttp.ClientError(f"status {answer.status}: {(await answer.text())[:200]}")
            answers = _answers.decode(await answer.read())
        if len(answers) != len(batch):
            raise aiohttp.ClientError(f"{len(answers)} answers to {len(batch)} deliveries")
        return answers

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_answers = msgspec.json.Decoder(list[Delivered])
_errors = msgspec.json.Decoder(ErrorBody)


def key_text(key: bytes) -> str:
    """The cluster's key as it travels."""
    return base64.urlsafe_b64encode(key).decode()


def cut(waiting: deque[Waiting]) -> list[Waiting]:
    """The next batch: as much as one request may carry, and at least one."""
    batch = [waiting.popleft()]
    size = len(batch[0].body)
    while waiting and len(batch) < DELIVERIES_TOGETHER_MAX:
        size += len(waiting[0].body)
        if size > BATCH_BYTES_MAX:
            break
        batch.append(waiting.popleft())
    return batch


def deliver_answers(answers: Sequence[bytes | ServiceError]) -> bytes:
    """The answers of a batch as they travel."""
    return encoder.encode(
        [
            Delivered(answer.status, Raw(encoder.encode(answer.body())))
            if isinstance(answer, ServiceError)
            else Delivered(OK, Raw(answer))
            for answer in answers
        ]
    )


def _settle(answered: asyncio.Future[bytes], answer: Delivered) -> None:
    if answered.done():
        return
    if answer.status == OK:
        answered.set_result(bytes(answer.body))
        return
    error = _errors.decode(answer.body)
    answered.set_exception(ServiceError(error.code, error.message, **error.details))


def _refuse(batch: Sequence[Waiting], reason: str) -> None:
    for each in batch:
        if not each.answered.done():
            each.answered.set_exception(ServiceError(Code.UNAVAILABLE, f"{reason}: try again"))
