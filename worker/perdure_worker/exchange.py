"""One request, repeated until it is answered.

A lost answer, a silent service and a service that is down look alike: the same bytes are sent again, with the same
sequence, after a jittered pause that grows to a bound. It goes on for as long as the worker lives. A refusal that
repeating does not mend is raised. Chance and the pause between attempts are passed in, and who wants to know of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, NamedTuple, Protocol, TypeVar

import msgspec

from perdure._retry_after import pause
from perdure.exceptions import RPCError
from perdure_proto.codec import encoder
from perdure_proto.errors import Code
from perdure_proto.tasks import LeaveRequest, PollRequest, RespondRequest
from perdure_worker.telemetry import REQUEST_REPEATED, SERVICE_REACHED_AGAIN, log

PAUSE_FIRST: Final = 0.02
PAUSE_MAX: Final = 0.5
PAUSE_GROWTH: Final = 2.0
ASKED_PAUSE_MAX: Final = 60.0
"""A worker has no other bound on its patience: it asks again after this, however long a proxy says."""
REPEATS_BEFORE_WARNING: Final = 3
FAULT_STATUS: Final = 500
"""From here on it is the service's fault, and another attempt may succeed."""
REPEATABLE: Final = frozenset({Code.RESOURCE_EXHAUSTED, Code.WRONG_OWNER})
"""Refusals below `FAULT_STATUS` that pass."""

Pause = Callable[[float], Awaitable[None]]
Answer = TypeVar("Answer")


class Transport(Protocol):
    """Sends one request, once: the client's connection. It raises `RPCError`; `UNAVAILABLE` without an answer."""

    async def send(self, method: str, path: str, data: bytes | None, timeout: float) -> bytes: ...


class Attempts(NamedTuple):
    """What is sent again and again."""

    method: str
    path: str
    body: bytes | None
    sequence: int = 0


class Exchange:
    """Sends requests of one task queue until they are answered."""

    def __init__(
        self,
        transport: Transport,
        *,
        pause: Pause = asyncio.sleep,
        random: Random | None = None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.in_trouble = False
        """Whether the last attempt was not answered."""
        self._failed = failed
        self._transport = transport
        self._pause = pause
        self._random = random or Random()  # noqa: S311 - jitter guards nothing

    async def ask(
        self,
        path: str,
        request: PollRequest | RespondRequest | LeaveRequest,
        decoder: msgspec.json.Decoder[Answer],
        *,
        patience: float,
    ) -> Answer:
        """The answer; each attempt may take `patience` seconds. Raises `RPCError` on what repeating does not mend."""
        call = Attempts("POST", path, encoder.encode(request), getattr(request, "sequence", 0))
        return await self._until_answered(call, decoder, patience)

    async def read(self, path: str, decoder: msgspec.json.Decoder[Answer], *, patience: float) -> Answer:
        """The answer to a GET, as `ask`."""
        return await self._until_answered(Attempts("GET", path, None), decoder, patience)

    async def _until_answered(self, call: Attempts, decoder: msgspec.json.Decoder[Answer], patience: float) -> Answer:
        attempt, path = 0, call.path
        while True:
            attempt += 1
            try:
                answer = decoder.decode(await self._transport.send(call.method, path, call.body, patience))
            except (RPCError, msgspec.DecodeError) as error:
                if isinstance(error, RPCError) and not passes(error):
                    raise
                self.in_trouble = True
                self._failed()
                await self._before_repeat(call, attempt, error)
            else:
                self.in_trouble = False
                if attempt > REPEATS_BEFORE_WARNING:
                    log.info(SERVICE_REACHED_AGAIN, path=path, attempts=attempt)
                return answer

    async def _before_repeat(self, call: Attempts, attempt: int, error: Exception) -> None:
        if attempt == REPEATS_BEFORE_WARNING:  # once for each outage: short ones are not news, long ones not news twice
            log.warning(REQUEST_REPEATED, path=call.path, sequence=call.sequence, attempt=attempt, error=repr(error))
        longest = min(PAUSE_FIRST * PAUSE_GROWTH ** min(attempt - 1, 10), PAUSE_MAX)
        backoff = longest * self._random.uniform(0.5, 1.0)
        asked = min(error.retry_after, ASKED_PAUSE_MAX) if isinstance(error, RPCError) else 0.0
        await self._pause(pause(backoff, asked, self._random.random()) if asked else backoff)


def passes(error: RPCError) -> bool:
    """Whether the same request may succeed later."""
    return error.status >= FAULT_STATUS or error.code in REPEATABLE
