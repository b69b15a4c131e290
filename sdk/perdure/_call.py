"""What `act(x)` and `wf(x)` are at run time: a target and its arguments, a coroutine once it is awaited.

Nothing happens before the first `await`. A call that is dropped unawaited is reported to the runtime that was current
when it was made, since cyclic garbage collection may run inside of another workflow.
"""

from __future__ import annotations

import warnings
from collections.abc import Coroutine, Generator
from typing import Any, Protocol, TypeVar

from perdure._runtime import current
from perdure._signature import caller

R_co = TypeVar("R_co", covariant=True)


class Target(Protocol):
    """What can be called: an activity, a local activity, a workflow."""

    @property
    def name(self) -> str:
        """Its type name."""
        ...

    def begin(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Generator[Any, Any, Any]:
        """Starts it and gives what to wait on."""
        ...


class Call(Coroutine[Any, Any, R_co]):
    """One call, not yet begun. Await it once, or hand it to what takes calls (`start_workflow`, `gather`, …)."""

    __slots__ = ("__weakref__", "_code", "_inner", "_line", "_runtime", "_used", "args", "kwargs", "target")

    def __init__(self, target: Target, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        self._used = False
        self.target = target
        self.args = args
        self.kwargs = kwargs
        self._inner: Generator[Any, Any, R_co] | None = None
        self._runtime = current.get()
        if self._runtime is not None:
            frame = caller(2)
            self._code, self._line = frame.f_code, frame.f_lineno

    @property
    def __name__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # that of the class is not meant
        return self.target.name

    def take(self) -> tuple[Target, tuple[object, ...], dict[str, object]]:
        """Target and arguments, for who runs the call in its own way. Raises `RuntimeError` the second time."""
        if self._used:
            raise RuntimeError(f"this call of {self.target.name}() was awaited before; write the call again")
        self._used = True
        return self.target, self.args, self.kwargs

    def __await__(self) -> Generator[Any, Any, R_co]:
        target, args, kwargs = self.take()
        self._inner = target.begin(args, kwargs)
        return self._inner

    def send(self, value: Any, /) -> Any:
        """As of every coroutine."""
        inner = self._inner
        return (self.__await__() if inner is None else inner).send(value)

    def throw(self, *args: Any) -> Any:
        """As of every coroutine."""
        if self._inner is None:
            self.take()
            raise args[0]
        return self._inner.throw(*args)

    def close(self) -> None:
        """As of every coroutine; a call that was not begun never will be."""
        self._used = True
        if self._inner is not None and hasattr(self._inner, "close"):
            self._inner.close()

    def __del__(self) -> None:
        if getattr(self, "_used", True):
            return
        if self._runtime is not None:
            self._runtime.never_awaited(self.target.name, self._code.co_filename, self._line)
        else:
            warnings.warn(f"{self.target.name}() was never awaited", RuntimeWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"<call {self.target.name}({', '.join(given)})>"
