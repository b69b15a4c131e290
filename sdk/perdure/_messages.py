"""Typed messages: what a workflow takes while it runs, declared once and used on both sides.

A `Signal`, `Query` or `Update` is a name with types. In the workflow it declares handlers and channels; called with
arguments it gives what clients and other workflows send.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, cast, get_args, get_type_hints, overload

from perdure import _handlers
from perdure._handlers import HandlerUnfinishedPolicy, UnfinishedPolicy
from perdure._parameters import Parameters
from perdure._runtime import Channel
from perdure._signature import caller, check_type

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
FN = TypeVar("FN", bound=Callable[[], Awaitable[None] | None])


WARN: Final = HandlerUnfinishedPolicy.WARN_AND_ABANDON


class SignalChannel(Generic[T_co]):
    """The signals of one name as a typed, ordered, durable mailbox.

    What came before the channel was opened is there; a cancelled `receive` puts its value back; what is left when the
    workflow continues as new goes to the next run.

    Example:
        ``async for item in workflow.signal_channel("items", int): …``
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def receive(self, *, timeout: timedelta | float | None = None) -> T_co:
        """The next value. `timeout` is a timedelta or seconds; default None waits for ever.

        Raises `TimeoutError` when it is over.
        """
        future = self._channel.receive()
        if timeout is None:
            return cast(T_co, await future)
        async with asyncio.timeout(seconds_of(timeout)):
            return cast(T_co, await future)

    def receive_nowait(self) -> T_co:
        """The next value. Raises `asyncio.QueueEmpty` when there is none."""
        return cast(T_co, self._channel.receive_nowait())

    def __aiter__(self) -> AsyncIterator[T_co]:
        return _Values(self)


class _Values(AsyncIterator[T]):
    """All values of a channel, one after the other, for ever."""

    def __init__(self, channel: SignalChannel[T]) -> None:
        self._channel = channel

    async def __anext__(self) -> T:
        return await self._channel.receive()


class MessageCall:
    """A message with its arguments, ready to be sent."""

    def __init__(self, message: Message, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        self.message = message
        self.args = args
        self.kwargs = kwargs


class SignalCall(MessageCall):
    """A signal with its value: `approve(Approval(ok=True))`."""


class QueryCall(MessageCall, Generic[R_co]):
    """A query with its arguments."""


class UpdateCall(MessageCall, Generic[R_co]):
    """An update with its arguments."""


class Message:
    """What signals, queries and updates have: a name, a description and the types in their brackets."""

    def __init__(self, name: str, *, description: str = "") -> None:
        self.name = name
        self.description = description
        frame = caller(1)
        while frame.f_globals.get("__name__") == "typing" and frame.f_back is not None:
            frame = frame.f_back  # `Signal[T](…)` passes through typing
        self._globals = frame.f_globals
        self._resolved: tuple[Parameters | None, Any] | None = None

    def parameters(self) -> Parameters | None:
        """What it takes; None where the brackets do not say. Raises `ConversionError` for types nobody can read."""
        return self._types()[0]

    def result_type(self) -> Any:
        """What it gives; `Any` where the brackets do not say."""
        return self._types()[1]

    def _types(self) -> tuple[Parameters | None, Any]:
        if self._resolved is None:
            arguments = get_args(getattr(self, "__orig_class__", None))
            self._resolved = self._read(arguments) if arguments else (None, Any)
        return self._resolved

    def _read(self, arguments: tuple[Any, ...]) -> tuple[Parameters | None, Any]:
        taken, result = arguments
        parameters = None if taken is ... else self._parameters_of(taken)
        return parameters, self._evaluate(result)

    def _parameters_of(self, kinds: Sequence[Any]) -> Parameters:
        types = [self._evaluate(kind) for kind in kinds]
        for kind in types:
            check_type(kind, f"{type(self).__name__} {self.name!r}")
        return Parameters.unnamed(self.name, types)

    def _evaluate(self, kind: Any) -> Any:
        """The type that a bracket names, also as a string."""
        holder = type("holder", (), {"__annotations__": {"value": kind}})
        return get_type_hints(holder, self._globals, {}, include_extras=True)["value"]

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name}>"


class SignalHandlerDecorator(Protocol[T]):
    """A decorator that declares the handler of a signal that carries a value."""

    @overload
    def __call__(self, fn: Callable[[T], Coroutine[Any, Any, None]], /) -> Callable[[T], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(self, fn: Callable[[T], None], /) -> Callable[[T], None]: ...


class BareHandlerDecorator(Protocol):
    """A decorator that declares the handler of a signal that carries nothing."""

    def __call__(self, fn: FN, /) -> FN:
        """The function, declared."""
        ...


class UpdateHandlerDecorator(Protocol[P, R]):
    """A decorator that declares the handler of an update."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Callable[P, R]: ...


class Signal(Message, Generic[T]):
    """A signal that carries one value; `Signal[None]` carries nothing.

    Args:
        name: the signal's name.
        description: for people.

    Example:
        >>> paid = Signal[int]("paid")
        >>> paid(3).args
        (3,)
    """

    @overload
    def __call__(self: Signal[None]) -> SignalCall: ...
    @overload
    def __call__(self, value: T, /) -> SignalCall: ...
    def __call__(self, *args: Any) -> SignalCall:
        """The signal with its value, for `handle.signal(…)` and `start_signal=`."""
        return SignalCall(self, args, {})

    @overload
    def handler(self: Signal[None], fn: FN, /) -> FN: ...
    @overload
    def handler(self, fn: Callable[[T], Coroutine[Any, Any, None]], /) -> Callable[[T], Coroutine[Any, Any, None]]: ...
    @overload
    def handler(self, fn: Callable[[T], None], /) -> Callable[[T], None]: ...
    @overload
    def handler(self: Signal[None], /, *, unfinished_policy: UnfinishedPolicy) -> BareHandlerDecorator: ...
    @overload
    def handler(self, /, *, unfinished_policy: UnfinishedPolicy) -> SignalHandlerDecorator[T]: ...
    def handler(self, fn: Any = None, /, *, unfinished_policy: UnfinishedPolicy = WARN) -> Any:
        """Declares a nested function as what takes the signal, `def` or `async def`. Decorates.

        Args:
            fn: the function, where it is used as a bare decorator.
            unfinished_policy: whether the worker warns when the workflow ends while the handler runs, which is then
                abandoned. Default `HandlerUnfinishedPolicy.WARN_AND_ABANDON`.

        Raises `TypeError` for a function that does not fit, or that assigns a variable of the workflow without
        `nonlocal`.
        """
        return _declared(_handlers.Declaration("signal", self.name, self, "", unfinished_policy), fn)

    def channel(self) -> SignalChannel[T]:
        """The signal as a mailbox. Raises `RuntimeError` outside a workflow."""
        parameters = self.parameters()
        kind: Any = Any if parameters is None else parameters[0] if len(parameters) else type(None)
        return SignalChannel(_handlers.runtime_for(f"{self.name}.channel()").signal_channel(self.name, kind))

    def _read(self, arguments: tuple[Any, ...]) -> tuple[Parameters | None, Any]:
        kinds = [] if arguments[0] in (None, type(None)) else list(arguments)
        return self._parameters_of(kinds), type(None)


class Query(Message, Generic[P, R_co]):
    """A query: reads the state of a workflow, changes nothing.

    Args:
        name: the query's name.
        description: for people.

    Example:
        >>> last = Query[[int], list[str]]("last")
        >>> last(3).args
        (3,)
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> QueryCall[R_co]:
        """The query with its arguments, for `handle.query(…)`."""
        return QueryCall(self, args, kwargs)

    def handler(self: Query[P, R], fn: Callable[P, R], /) -> Callable[P, R]:
        """Declares a nested `def` as what answers the query. Decorates. Raises as `Signal.handler` does."""
        return _handlers.declare(_handlers.Declaration("query", self.name, self), fn)


class Update(Message, Generic[P, R_co]):
    """An update: changes a workflow and gives a result.

    Args:
        name: the update's name.
        description: for people.

    Example:
        >>> set_amount = Update[[int], int]("set_amount")
        >>> set_amount(4).args
        (4,)
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> UpdateCall[R_co]:
        """The update with its arguments, for `handle.execute_update(…)`."""
        return UpdateCall(self, args, kwargs)

    @overload
    def handler(
        self: Update[P, R], fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def handler(self: Update[P, R], fn: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def handler(self: Update[P, R], /, *, unfinished_policy: UnfinishedPolicy) -> UpdateHandlerDecorator[P, R]: ...
    def handler(self, fn: Any = None, /, *, unfinished_policy: UnfinishedPolicy = WARN) -> Any:
        """Declares a nested function as what runs the update; arguments and errors as of `Signal.handler`."""
        return _declared(_handlers.Declaration("update", self.name, self, "", unfinished_policy), fn)

    def validator(self, fn: Callable[P, None], /) -> Callable[P, None]:
        """Declares a nested `def` as what may refuse the update: any exception it raises rejects it. Decorates."""
        return _handlers.declare_validator(self.name, fn)


def _declared(declaration: _handlers.Declaration, fn: Any) -> Any:
    """The function, declared; or its decorator, where it is to come."""
    if fn is not None:
        return _handlers.declare(declaration, fn, 3)

    def decorate(fn: Any) -> Any:
        return _handlers.declare(declaration, fn, 2)

    return decorate


class Signals(ABC):
    """What can be signalled: a workflow from a client, a child or another workflow from a workflow."""

    @overload
    async def signal(self, signal: SignalCall | Signal[None], /) -> None: ...
    @overload
    async def signal(self, signal: Signal[T], value: T, /) -> None: ...
    @overload
    async def signal(self, signal: str, /, *args: object) -> None: ...
    async def signal(self, signal: Any, /, *args: Any) -> None:
        """Sends a signal: `signal(approve, value)`, `signal(approve(value))`, or `signal("approve", value)` untyped.

        Returns once it is durable. Raises `ConversionError` for a value that does not fit, and when there is no such
        workflow or it is closed: `RPCError` in a client, `ApplicationError` of type
        `EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND` in a workflow.
        """
        await self._send_signal(outgoing(signal, args, {}, SignalCall))

    @abstractmethod
    async def _send_signal(self, call: Outgoing) -> None: ...


class Outgoing:
    """A message as it is sent: name, arguments, and the types they are checked against where it is declared."""

    def __init__(
        self, name: str, args: tuple[object, ...], kwargs: Mapping[str, object], message: Message | None
    ) -> None:
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.parameters = message.parameters() if message is not None else None
        self.result_type: Any = message.result_type() if message is not None else Any

    @classmethod
    def of(
        cls,
        name: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        parameters: Parameters | None,
        result_type: Any = Any,
    ) -> Outgoing:
        """A message as interceptors pass it on."""
        call = cls(name, tuple(args), kwargs, None)
        call.parameters, call.result_type = parameters, result_type
        return call


def outgoing(
    given: object, args: tuple[object, ...], kwargs: Mapping[str, object], kind: type[MessageCall]
) -> Outgoing:
    """The message that `signal`, `query` and `update` were given: by name, declared, or with its arguments.

    Raises `TypeError` for anything else.
    """
    if isinstance(given, str):
        return Outgoing(given, args, kwargs, None)
    if isinstance(given, Message):
        made: object = cast(Callable[..., object], given)(*args, **kwargs)
        if isinstance(made, kind):
            return Outgoing(given.name, args, kwargs, given)
    if isinstance(given, kind) and not args and not kwargs:
        return Outgoing(given.message.name, given.args, given.kwargs, given.message)
    raise TypeError(f"{given!r} is not a {kind.__name__.removesuffix('Call').lower()} or its name")


def seconds_of(duration: timedelta | float) -> float:
    """A duration in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration
