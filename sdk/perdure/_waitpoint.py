"""Waitpoints: places where a workflow waits for one value from outside, from whoever has the token.

A waitpoint is a channel of its own for one signal, which only the service sends, when the token is used. Its time runs
from the moment it is made; what was accepted in time counts, even if the workflow sees it late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, cast, overload

from perdure._handlers import runtime_for
from perdure._messages import seconds_of
from perdure._runtime import OpenWaitpoint
from perdure._signature import check_type
from perdure.exceptions import FailureError
from perdure_proto.waitpoints import NAME_BYTES_MAX

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_NOTHING: Any = object()


class Waitpoint(Generic[T_co]):
    """A place to wait for one value from outside. Made by `workflow.waitpoint()`; await it, as often as you like.

    Awaiting raises `TimeoutError` when its time is over, and `ApplicationError` of type `INVALID_ARGUMENT` for a value
    that is of another type.
    """

    def __init__(self, name: str, opened: OpenWaitpoint, expires_at: datetime | None) -> None:
        self.name: str = name
        """As it was given."""
        self.token: str = opened.token
        """What completes it, for whoever is to decide: a secret, good once, in this run alone."""
        self.url: str = opened.url
        """Where a POST with a JSON value completes it."""
        self.expires_at: datetime | None = expires_at
        """When its time is over, in UTC; None for never."""
        self._channel = opened.channel
        self._turn = asyncio.Lock()
        self._value: Any = _NOTHING

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self._take().__await__()

    async def _take(self) -> T_co:
        async with self._turn:
            if self._value is _NOTHING:
                self._value = await self._receive()
        if isinstance(self._value, FailureError):
            raise self._value
        return cast(T_co, self._value)

    async def _receive(self) -> Any:
        if self.expires_at is None:
            return await self._channel.receive()
        left = (self.expires_at - runtime_for("a waitpoint").now()).total_seconds()
        try:
            if left <= 0:
                return self._channel.receive_nowait()
            # A value that was accepted in time stands before the firing of this timer in the log, and is taken first.
            async with asyncio.timeout(left):
                return await self._channel.receive()
        except (TimeoutError, asyncio.QueueEmpty):
            raise TimeoutError(f"waitpoint {self.name!r} was not completed in time") from None

    def __repr__(self) -> str:
        return f"<waitpoint {self.name}>"


@overload
def waitpoint(name: str, type: type[T], /, *, timeout: timedelta | float | None = ...) -> Waitpoint[T]: ...
@overload
def waitpoint(name: str, type: Any = ..., /, *, timeout: timedelta | float | None = ...) -> Waitpoint[Any]: ...
def waitpoint(name: str, type: Any = Any, /, *, timeout: timedelta | float | None = None) -> Waitpoint[Any]:
    """A place to wait for one value from outside: hand its `url` or `token` to whoever decides, then await it.

    Whoever has the token completes it, once, without an API key: `POST /api/v1/resume/{token}` with a JSON value,
    `client.resume_waitpoint(token, value)` or `perdure workflow resume TOKEN`. The same value again is answered as
    before; another value, a token that was changed and one whose time is over are refused.

    Args:
        name: what it is about, up to 128 bytes; a name that is used again makes another waitpoint.
        type: what the value comes as. Default: any JSON value.
        timeout: a timedelta or seconds from now, after which nobody can complete it. Default None: as long as the run.

    Raises `ValueError` for a name that is empty or too long, `ConversionError` for a type nobody can read, and
    `RuntimeError` outside a workflow.

    Example:
        ``wait = workflow.waitpoint("approval", Approval, timeout=3600); await send_mail(wait.url); await wait``
    """
    runtime = runtime_for("workflow.waitpoint()")
    size = len(name.encode())
    if not name.isprintable() or not 0 < size <= NAME_BYTES_MAX:
        raise ValueError(f"a waitpoint's name has 1 to {NAME_BYTES_MAX} bytes that can be printed, {name!r} has {size}")
    check_type(type, f"waitpoint {name!r}")
    expires_at = None if timeout is None else runtime.now() + timedelta(seconds=seconds_of(timeout))
    return Waitpoint(name, runtime.waitpoint(name, type, expires_at), expires_at)
