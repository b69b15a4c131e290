"""HTTP to one address: bytes out, bytes in, errors as `RPCError`. It and `_channel` alone know aiohttp.

One session with keep-alive serves everything; under traffic most of it goes over one channel (`_channel`).
"""

from __future__ import annotations

import contextlib
import io
import ssl
import time
from typing import Final, TypeGuard

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from perdure._channel import Channel
from perdure._door import Door
from perdure._requests import VERSION_PATH, Requests
from perdure._retry_after import HEADER, seconds_in
from perdure.exceptions import RPCError
from perdure_proto import PROTOCOL_VERSION
from perdure_proto.channel import SHARD_MAP_HEADER
from perdure_proto.errors import RETRY_AFTER, Code, ErrorBody

CONNECTIONS_MAX: Final = 1_000
CONNECT_SECONDS_MAX: Final = 4.0
"""How long a machine that says nothing is waited for: two lost packets of the handshake are made good in this."""

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


class Connection(Requests):
    """A connection to one address. Made inside of a running loop, and used on that loop alone."""

    def __init__(self, address: str, options: ConnectionOptions, *, keeps_map: bool = False) -> None:
        self.address: str = normalized(address, tls=bool(options.tls))
        self.rpc_timeout: float = options.rpc_timeout
        headers = {PROTOCOL_HEADER: str(PROTOCOL_VERSION), "content-type": "application/json"}
        if keeps_map:
            headers[SHARD_MAP_HEADER] = "1"
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
        self._door = Door(self._knock)

    async def send(self, method: str, path: str, data: bytes | None, timeout: float) -> bytes:
        """One attempt: the body of the answer. Raises `RPCError`; `UNAVAILABLE` when there was no answer."""
        try:
            refusal = await self._door.refusal(timeout) if self._door.is_shut else None
            if refusal is not None:
                raise self._unreachable(refusal, timeout) from refusal
            after = ""
            if self._channel.takes(data):
                status, answer = await self._channel.send(method, path, data, timeout)
            else:
                status, answer, after = await self._send_alone(method, path, data, timeout)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if _is_refusal(error):
                self._door.shut()
            raise self._unreachable(error, timeout) from error
        if status < _OK:
            return answer
        raise _refusal(status, answer, after)

    def _unreachable(self, error: Exception, timeout: float) -> RPCError:
        reason = f"no answer in {timeout:.3g} s" if isinstance(error, TimeoutError) else str(error) or repr(error)
        return RPCError(f"cannot reach {self.address}: {reason}")

    async def _knock(self) -> OSError | None:
        try:
            await self._send_alone("GET", VERSION_PATH, None, CONNECT_SECONDS_MAX)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return error if _is_refusal(error) else None
        return None

    async def _send_alone(self, method: str, path: str, data: bytes | None, timeout: float) -> tuple[int, bytes, str]:
        """As a request of its own: status, body, and what the answer says of a repeat."""
        url = URL(self.address + path, encoded=True)
        # aiohttp warns of large bodies that are plain bytes, and writes a stream piece by piece.
        body: bytes | io.BytesIO | None = data if data is None or len(data) < LARGE_BODY_BYTES else io.BytesIO(data)
        async with self._session.request(
            method, url, data=body, timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS_MAX)
        ) as response:
            return response.status, await response.read(), response.headers.get(HEADER, "")

    async def close(self) -> None:
        """Closes the session; what is under way fails."""
        await self._door.close()
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


def normalized(address: str, *, tls: bool) -> str:
    """The address with a scheme and without a slash at its end."""
    if "://" not in address:
        address = f"{'https' if tls else 'http'}://{address}"
    url = URL(address)
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"{address!r} is not an address such as http://127.0.0.1:7233")
    return str(url).rstrip("/")


def _is_refusal(error: BaseException) -> TypeGuard[aiohttp.ClientConnectorError]:
    """Whether nobody listens there, rather than that somebody is slow or speaks another language."""
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError)


def _refusal(status: int, body: bytes, after: str = "") -> RPCError:
    """The error of an answer; one that is not perdure's comes from a proxy in between."""
    asked = {RETRY_AFTER: seconds_in(after, time.time())} if after else {}
    try:
        error = _errors.decode(body)
        return RPCError(error.message, status, error.code, {**asked, **error.details})
    except msgspec.MsgspecError:  # no JSON, another shape, or the code of a later version
        code = Code.UNAVAILABLE if status in _GATEWAY_STATUSES else Code.INTERNAL
        text = body[:200].decode("utf-8", "replace")
        return RPCError(f"the address answered with status {status}: {text}", status, code, asked)
