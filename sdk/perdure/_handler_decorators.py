"""`@workflow.signal`, `@workflow.query` and `@workflow.update` on nested functions: handlers named where they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from perdure._handlers import Declaration, UnfinishedPolicy, UpdateHandler, declare

P = ParamSpec("P")
R = TypeVar("R")
FN = TypeVar("FN", bound=Callable[..., Any])


class SameFunction(Protocol):
    """A decorator that gives back the function."""

    def __call__(self, fn: FN, /) -> FN:
        """The function, declared."""
        ...


class UpdateDecorator(Protocol):
    """A decorator that gives the function a `.validator`."""

    def __call__(self, fn: Callable[P, R], /) -> UpdateHandler[P, R]:
        """The function, declared."""
        ...


def _name(fn: Callable[..., Any], name: str | None, *, dynamic: bool) -> str | None:
    if dynamic and name is not None:
        raise TypeError("a dynamic handler has no name: it takes what no other handler takes")
    return None if dynamic else name or fn.__name__


@overload
def signal(fn: FN, /) -> FN: ...
@overload
def signal(
    *, name: str | None = ..., dynamic: bool = ..., description: str = ..., unfinished_policy: UnfinishedPolicy = ...
) -> SameFunction: ...
def signal(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    dynamic: bool = False,
    description: str = "",
    unfinished_policy: UnfinishedPolicy = "warn_and_abandon",
) -> Any:
    """Declares a nested function of a workflow as what takes a signal.

    Args:
        fn: the function, `def` or `async def`, where it is used as a bare decorator.
        name: the signal's name. Default: the function's.
        dynamic: takes `(name, args)` of every signal without a handler of its own; each argument is read as the
            annotation of `args` says, such as `Sequence[RawValue]`. Default False.
        description: for people.
        unfinished_policy: whether the worker warns when the workflow ends while the handler runs, which is then
            abandoned. Default `HandlerUnfinishedPolicy.WARN_AND_ABANDON`.

    Raises `TypeError` for a handler that assigns a variable of the workflow without `nonlocal`, and `RuntimeError`
    outside a workflow.

    Example:
        ``@workflow.signal`` above ``def approve(who: str) -> None: …``
    """

    def decorate(fn: Any) -> Any:
        found = _name(fn, name, dynamic=dynamic)
        return declare(Declaration("signal", found, None, description, unfinished_policy), fn, depth)

    depth = 2 if fn is None else 3
    return decorate if fn is None else decorate(fn)


@overload
def query(fn: FN, /) -> FN: ...
@overload
def query(*, name: str | None = ..., dynamic: bool = ..., description: str = ...) -> SameFunction: ...
def query(fn: Any = None, /, *, name: str | None = None, dynamic: bool = False, description: str = "") -> Any:
    """Declares a nested `def` of a workflow as what answers a query; arguments and errors as of `signal`.

    Example:
        ``@workflow.query`` above ``def status() -> str: …``
    """

    def decorate(fn: Any) -> Any:
        found = _name(fn, name, dynamic=dynamic)
        return declare(Declaration("query", found, None, description), fn, depth)

    depth = 2 if fn is None else 3
    return decorate if fn is None else decorate(fn)


@overload
def update(fn: Callable[P, R], /) -> UpdateHandler[P, R]: ...
@overload
def update(
    *, name: str | None = ..., dynamic: bool = ..., description: str = ..., unfinished_policy: UnfinishedPolicy = ...
) -> UpdateDecorator: ...
def update(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    dynamic: bool = False,
    description: str = "",
    unfinished_policy: UnfinishedPolicy = "warn_and_abandon",
) -> Any:
    """Declares a nested function of a workflow as what runs an update; arguments and errors as of `signal`.

    The result has `.validator`, which decorates a `def` that may refuse the update by raising.

    Example:
        ``@workflow.update`` above ``async def set_amount(value: int) -> int: …``
    """

    def decorate(fn: Any) -> Any:
        found = _name(fn, name, dynamic=dynamic)
        declare(Declaration("update", found, None, description, unfinished_policy), fn, depth)
        return UpdateHandler(found, fn)

    depth = 2 if fn is None else 3
    return decorate if fn is None else decorate(fn)
