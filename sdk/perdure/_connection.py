"""HTTP to one address: bytes out, bytes in, errors as `RPCError`. It and `_channel` alone know aiohttp.

One session with keep-alive serves everything; under traffic most of it goes over one channel (`_channel`). `send` and
`request` try once; `call` repeats what may be repeated, with the same body and so the same request id, until the time
for the request is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import ssl
import time
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from msgspec import Raw, Struct
from yarl import URL

from perdure._channel import Channel
from perdure.exceptions import RPCError
from perdure_proto import PROTOCOL_VERSION
from perdure_proto.codec import encoder
from perdure_proto.errors import RETRYABLE, Code, ErrorBody
from perdure_proto.service import VersionAnswer

T = TypeVar("T")

ATTEMPT_SECONDS_MAX: Final = 10.0
"""How long one attempt may take beyond what it was asked to wait: a dead connection is given up after this."""

BACKOFF_SECONDS_FIRST: Final = 0.05
BACKOFF_SECONDS_MAX: Final = 2.0
CONNECTIONS_MAX: Final = 1_000
KEEPALIVE_SECONDS: Final = 30.0
LARGE_BODY_BYTES: Final = 2**19
PROTOCOL_HEADER: Final = "perdure-protocol"

_OK: Final = 300
_GATEWAY_STATUSES: Final = frozenset({429, 502, 503, 504})
"""What proxies answer while nothing behind them is ready."""

_errors: Final = msgspec.json.Decoder(ErrorBody)


class ConnectionOptions(Struct, frozen=True, kw_only=True):
    """How to reach the service. `rpc_timeout` bounds, in seconds, a request with all its repeats."""

    api_key: str | None = None
    tls: ssl.SSLContext | bool | None = None
    rpc_timeout: float = 30.0


class Connection:
    """A connection to one address. Made inside of a running loop, and used on that loop alone."""

    def __init__(self, address: str, options: ConnectionOptions) -> None:
        self.address: str = _normalized(address, tls=bool(options.tls))
        self.rpc_timeout: float = options.rpc_timeout
        headers = {PROTOCOL_HEADER: str(PROTOCOL_VERSION), "content-type": "application/json"}
        if options.api_key:
            headers["authorization"] = f"Bearer {options.api_key}"
        context = options.tls if isinstance(options.tls, ssl.SSLContext) else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=KEEPALIVE_SECONDS, ssl=context),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("user-agent", "accept", "accept-encoding"),
        )
        self._channel = Channel(self._session, self.address)
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}

    async def send(self, method: str, path: str, data: bytes | None, timeout: float) -> bytes:
        """One attempt: the body of the answer. Raises `RPCError`; `UNAVAILABLE` when there was no answer."""
        try:
            if self._channel.takes(data):
                status, answer = await self._channel.send(method, path, data, timeout)
            else:
                status, answer = await self._send_alone(method, path, data, timeout)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = f"no answer in {timeout:.3g} s" if isinstance(error, TimeoutError) else str(error) or repr(error)
            raise RPCError(f"cannot reach {self.address}: {reason}") from error
        if status < _OK:
            return answer
        raise _refusal(status, answer)

    async def _send_alone(self, method: str, path: str, data: bytes | None, timeout: float) -> tuple[int, bytes]:
        """As a request of its own."""
        url = URL(self.address + path, encoded=True)
        # aiohttp warns of large bodies that are plain bytes, and writes a stream piece by piece.
        body: bytes | io.BytesIO | None = data if data is None or len(data) < LARGE_BODY_BYTES else io.BytesIO(data)
        async with self._session.request(
            method, url, data=body, timeout=aiohttp.ClientTimeout(total=timeout)
        ) as response:
            return response.status, await response.read()

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
        for delay in _backoff():
            left = max(deadline - time.monotonic(), 0.001)
            try:
                return self._read(
                    await self.send(method, path, data, min(left, wait + ATTEMPT_SECONDS_MAX)), answer_type
                )
            except RPCError as error:
                if error.code not in RETRYABLE or isinstance(error.__cause__, aiohttp.ClientSSLError):
                    raise
                if time.monotonic() + delay >= deadline:
                    raise self._gave_up(error) from error
            await asyncio.sleep(delay)
        raise AssertionError("the backoff never ends")

    def _gave_up(self, error: RPCError) -> RPCError:
        if error.code == Code.UNAVAILABLE:
            return RPCError(f"{error.message}; tried for {self.rpc_timeout:.3g} s. Is the server running there?")
        return RPCError(f"{error.message} ({error.code}); tried for {self.rpc_timeout:.3g} s", details=error.details)

    def _read(self, body: bytes, answer_type: type[T]) -> T:
        decoder = self._decoders.get(answer_type)
        if decoder is None:
            decoder = self._decoders[answer_type] = msgspec.json.Decoder(answer_type)
        try:
            answer: T = decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise RPCError(
                f"{self.address} gave an answer that is not perdure's: {error}", code=Code.INTERNAL
            ) from error
        return answer

    async def check_version(self) -> VersionAnswer:
        """What the server is. Raises `RPCError` with `PROTOCOL_VERSION` when the two cannot understand each other."""
        answer = await self.call("GET", "/api/v1/version", None, VersionAnswer)
        if answer.protocol_version < PROTOCOL_VERSION:
            raise RPCError(
                f"the server at {self.address} ({answer.server_version}) speaks protocol {answer.protocol_version}, "
                f"this client speaks {PROTOCOL_VERSION}: upgrade the server",
                code=Code.PROTOCOL_VERSION,
            )
        if answer.protocol_version_min > PROTOCOL_VERSION:
            raise RPCError(
                f"the server at {self.address} ({answer.server_version}) needs protocol {answer.protocol_version_min}, "
                f"this client speaks {PROTOCOL_VERSION}: upgrade the perdure package here",
                code=Code.PROTOCOL_VERSION,
            )
        return answer

    async def close(self) -> None:
        """Closes the session; what is under way fails."""
        await self._channel.close()
        await self._session.close()

    def __del__(self) -> None:
        session: aiohttp.ClientSession | None = getattr(self, "_session", None)
        if session is None or session.closed:
            return
        self._channel.abandon()
        # A client may simply be dropped: sockets are closed here, without aiohttp's complaint.
        connector = session.connector
        session.detach()
        if connector is not None:
            with contextlib.suppress(RuntimeError, AttributeError):
                connector._close()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the public close() has to be awaited


def _normalized(address: str, *, tls: bool) -> str:
    """The address with a scheme and without a slash at its end."""
    if "://" not in address:
        address = f"{'https' if tls else 'http'}://{address}"
    url = URL(address)
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"{address!r} is not an address such as http://127.0.0.1:7233")
    return str(url).rstrip("/")


def _refusal(status: int, body: bytes) -> RPCError:
    """The error of an answer; one that is not perdure's comes from a proxy in between."""
    try:
        error = _errors.decode(body)
        return RPCError(error.message, status, error.code, error.details)
    except msgspec.MsgspecError:  # no JSON, another shape, or the code of a later version
        code = Code.UNAVAILABLE if status in _GATEWAY_STATUSES else Code.INTERNAL
        text = body[:200].decode("utf-8", "replace")
        return RPCError(f"the address answered with status {status}: {text}", status, code)


def _backoff() -> Iterator[float]:
    """Seconds before each repeat: doubling, with half of each left to chance."""
    delay = BACKOFF_SECONDS_FIRST
    while True:
        yield delay * (0.5 + random.random() / 2)  # noqa: S311  # spreads callers, guards nothing
        delay = min(delay * 2, BACKOFF_SECONDS_MAX)
