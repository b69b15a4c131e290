"""What every patch of the guard asks first: is this workflow code, and whose?

The answer is a context variable, which costs 20 ns where asking for the running loop costs 200. Code that runs inside
a workflow's loop without the variable (a task given an empty Context) is refused rather than given real values. This
module knows what the guard needs of a runtime and nothing else of it.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from perdure_worker.loop_drive import OutsideDrive, driving
from perdure_worker.loop_refusals import refuse

if TYPE_CHECKING:
    import random
    from contextvars import ContextVar, Token


class GuardedRuntime(Protocol):
    """The values that workflow code gets in place of the real ones."""

    def now_seconds(self) -> float:
        """Workflow time, in seconds since 1970."""

    def random(self) -> random.Random:
        """The workflow's own generator, seeded from its history."""

    def is_read_only(self) -> bool:
        """Whether this is a query or a validator, which must leave no trace in the workflow."""


RuntimeT = TypeVar("RuntimeT", bound=GuardedRuntime)


class Seam(Generic[RuntimeT]):
    """The one place where the guard looks up the workflow that is running."""

    def __init__(self, current: ContextVar[RuntimeT | None]) -> None:
        self.current = current
        self._get = current.get

    def runtime(self, call: str) -> RuntimeT | None:
        """The runtime of the workflow whose code is running, or None outside of workflows."""
        runtime = self._get(None)
        if runtime is None and driving and get_ident() in driving:
            refuse(f"{call} in an empty Context", "give the task a copy of the current Context")
        return runtime

    def generator(self, call: str) -> random.Random | None:
        """The generator to draw from; None for the real one.

        A query and a validator draw real chance: they are not replayed, and a draw from the workflow's own generator
        would shift every draw that comes after it.
        """
        runtime = self.runtime(call)
        return None if runtime is None or runtime.is_read_only() else runtime.random()

    def inside(self) -> bool:
        """Whether this is workflow code, with its context or without."""
        return self._get(None) is not None or (bool(driving) and get_ident() in driving)


class Suspension:
    """A block of the worker's own code that runs within a workflow's context and sees the real values."""

    __slots__ = ("_current", "_drive", "_token")

    def __init__(self, current: ContextVar[Any]) -> None:  # Any: a ContextVar is invariant in what it holds
        self._current = current
        self._drive = OutsideDrive()

    def __enter__(self) -> None:
        self._token: Token[Any] = self._current.set(None)
        self._drive.__enter__()

    def __exit__(self, *_exc: object) -> None:
        self._drive.__exit__()
        self._current.reset(self._token)


# What the guard has replaced: the name users know it by, by the identity of the original. The scan finds in it what
# a module imported by name before the guard was there.
originals: dict[int, tuple[str, object]] = {}


def replace(owner: object, name: str, replacement: object, *, known_as: str) -> None:
    """Put a replacement in place of a function, and remember the original."""
    original = getattr(owner, name)
    originals.setdefault(id(original), (known_as, original))
    setattr(owner, name, replacement)
