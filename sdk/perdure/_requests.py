"""Requests of the HTTP API over whatever sends bytes: to one address (`_connection`), or to a cluster (`_cluster`).

`send` and `request` try once; `call` repeats what may be repeated, with the same body and so the same request id,
until the time for the request is over. It must not know sockets.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from perdure._retry_after import pause
from perdure.exceptions import RPCError
from perdure_proto import PROTOCOL_VERSION
from perdure_proto.codec import encoder
from perdure_proto.errors import RETRYABLE, Code
from perdure_proto.service import VersionAnswer

T = TypeVar("T")

ATTEMPT_SECONDS_MAX: Final = 10.0
"""How long one attempt may take beyond what it was asked to wait: a dead connection is given up after this."""

BACKOFF_SECONDS_FIRST: Final = 0.05
BACKOFF_SECONDS_MAX: Final = 2.0
VERSION_PATH: Final = "/api/v1/version"

_decoders: Final[dict[Any, msgspec.json.Decoder[Any]]] = {}


class Requests:
    """Asks a service and reads what it answers. Who inherits it says how one attempt is sent."""

    address: str
    """Where the service is, as it was given first."""
    rpc_timeout: float
    """How long, in seconds, a request is tried with all its repeats."""

    async def send(self, method: str, path: str, data: bytes | None, timeout: float) -> bytes:
        """One attempt: the body of the answer. Raises `RPCError`; `UNAVAILABLE` when there was no answer."""
        raise NotImplementedError

    async def request(
        self, method: str, path: str, body: Struct | Raw | None, answer_type: type[T], timeout: float = 30.0
    ) -> T:
        """One attempt: `body` is sent as JSON and the answer read as `answer_type`; `timeout` is in seconds.

        Raises `RPCError`.
        """
        data = None if body is None else encoder.encode(body)
        return self._read(await self.send(method, path, data, timeout), answer_type)

    async def call(
        self, method: str, path: str, body: Struct | Raw | None, answer_type: type[T], wait: float = 0.0
    ) -> T:
        """As `request`, repeated where that is safe, for up to `rpc_timeout` beyond the `wait` that was asked for.

        Raises `RPCError`; `UNAVAILABLE` when the time is over.
        """
        data = None if body is None else encoder.encode(body)
        deadline = time.monotonic() + wait + self.rpc_timeout
        for backoff in _backoff():
            left = max(deadline - time.monotonic(), 0.001)
            try:
                return self._read(
                    await self.send(method, path, data, min(left, wait + ATTEMPT_SECONDS_MAX)), answer_type
                )
            except RPCError as error:
                if error.code not in RETRYABLE or isinstance(error.__cause__, ssl.SSLError | ssl.CertificateError):
                    raise
                delay = pause(backoff, error.retry_after)
                if time.monotonic() + delay >= deadline:
                    raise self._gave_up(error) from error
            await asyncio.sleep(delay)
        raise AssertionError("the backoff never ends")

    def _gave_up(self, error: RPCError) -> RPCError:
        text = f"{error.message} ({error.code}); tried for {self.rpc_timeout:.3g} s"
        if error.code == Code.UNAVAILABLE:
            text = f"{error.message}; tried for {self.rpc_timeout:.3g} s. Is the server running there?"
        return RPCError(text, details=error.details)

    def _read(self, body: bytes, answer_type: type[T]) -> T:
        decoder = _decoders.get(answer_type)
        if decoder is None:
            decoder = _decoders[answer_type] = msgspec.json.Decoder(answer_type)
        try:
            answer: T = decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise RPCError(
                f"{self.address} gave an answer that is not perdure's: {error}", code=Code.INTERNAL
            ) from error
        return answer

    async def check_version(self) -> VersionAnswer:
        """What the server is. Raises `RPCError` with `PROTOCOL_VERSION` when the two cannot understand each other."""
        answer = await self.call("GET", VERSION_PATH, None, VersionAnswer)
        refuse_version(answer, self.address)
        return answer

    async def close(self) -> None:
        """Lets go of what it holds; what is under way fails."""


def refuse_version(answer: VersionAnswer, address: str) -> None:
    """Raises `RPCError` with `PROTOCOL_VERSION` for a server that this client cannot talk to."""
    if answer.protocol_version < PROTOCOL_VERSION:
        raise RPCError(
            f"the server at {address} ({answer.server_version}) speaks protocol {answer.protocol_version}, "
            f"this client speaks {PROTOCOL_VERSION}: upgrade the server",
            code=Code.PROTOCOL_VERSION,
        )
    if answer.protocol_version_min > PROTOCOL_VERSION:
        raise RPCError(
            f"the server at {address} ({answer.server_version}) needs protocol {answer.protocol_version_min}, "
            f"this client speaks {PROTOCOL_VERSION}: upgrade the perdure package here",
            code=Code.PROTOCOL_VERSION,
        )


def _backoff() -> Iterator[float]:
    """Seconds before each repeat: doubling, with half of each left to chance."""
    delay = BACKOFF_SECONDS_FIRST
    while True:
        yield delay * (0.5 + random.random() / 2)  # noqa: S311  # spreads callers, guards nothing
        delay = min(delay * 2, BACKOFF_SECONDS_MAX)
