"""Chance: `random`, `secrets`, `uuid` and `os.urandom` draw from the workflow's own generator inside a workflow.

The class of `random`'s hidden instance is replaced, so that names imported before the guard draw from the workflow
too; those of C methods cannot, and the scan finds them. Anything "secret" drawn in a workflow can be drawn again from
its history: keys belong into activities.
"""

from __future__ import annotations

import os
import random
import uuid
from typing import TYPE_CHECKING, Any

from perdure_worker.guard.seam import Seam, replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    _Seed: TypeAlias = int | float | str | bytes | bytearray | None

# Instants of version 1 count 100 ns from the beginning of the Gregorian calendar.
_GREGORIAN_TO_1970 = 0x01B21DD213814000

_C_METHODS = ("random", "getrandbits")
_STATE_METHODS = ("seed", "getstate", "setstate")


def install_chance(seam: Seam[Any]) -> None:
    """Replace the sources of chance."""
    urandom = _urandom(seam)
    replace(os, "urandom", urandom, known_as="os.urandom")
    setattr(random, "_urandom", urandom)  # noqa: B010 - typeshed does not allow it
    replace(uuid, "uuid1", _uuid1(seam), known_as="uuid.uuid1")
    _install_random(seam)


def _install_random(seam: Seam[Any]) -> None:
    hidden = random._inst  # noqa: SLF001 - what the functions of the module are bound to
    names = [name for name in dir(random) if getattr(getattr(random, name), "__self__", None) is hidden]
    _replace_seed(seam)
    hidden.__class__ = _guarded_random(seam)
    for name in names:
        if name in _C_METHODS or name in _STATE_METHODS:
            replace(random, name, getattr(hidden, name), known_as=f"random.{name}")
        else:
            setattr(random, name, getattr(hidden, name))


def _replace_seed(seam: Seam[Any]) -> None:
    """Let `random.Random()` without a seed, in a workflow, take one from the workflow's generator."""
    real = random.Random.seed

    def seed(self: random.Random, a: _Seed = None, version: int = 2) -> None:
        if a is None:
            generator = seam.generator("random.Random()")
            a = None if generator is None else generator.getrandbits(128)
        real(self, a, version)

    setattr(random.Random, "seed", seed)  # noqa: B010 - typeshed does not allow it


def _guarded_random(seam: Seam[Any]) -> type[random.Random]:
    real = random.Random

    class WorkflowAwareRandom(random.Random):
        """The generator behind the functions of `random`."""

        def random(self) -> float:
            generator = seam.generator("random.random()")
            return real.random(self) if generator is None else generator.random()

        def getrandbits(self, k: int, /) -> int:
            generator = seam.generator("random.getrandbits()")
            return real.getrandbits(self, k) if generator is None else generator.getrandbits(k)

        def seed(self, a: _Seed = None, version: int = 2) -> None:  # type: ignore[override] # as in random.Random
            generator = seam.generator("random.seed()")
            if generator is None:
                real.seed(self, a, version)
            else:
                generator.seed(a, version)

        def getstate(self) -> tuple[Any, ...]:
            generator = seam.generator("random.getstate()")
            return real.getstate(self) if generator is None else generator.getstate()

        def setstate(self, state: tuple[Any, ...]) -> None:
            generator = seam.generator("random.setstate()")
            if generator is None:
                real.setstate(self, state)
            else:
                generator.setstate(state)

        # `gauss` keeps every second value for the next call; in a workflow it is the workflow's generator that keeps
        # it. A property rather than a method: it holds for a `gauss` imported before the guard, too.
        @property
        def gauss_next(self) -> float | None:
            generator = seam.generator("random.gauss()")
            kept: float | None = (self if generator is None else generator).__dict__.get("gauss_next")
            return kept

        @gauss_next.setter
        def gauss_next(self, value: float | None) -> None:
            generator = seam.generator("random.gauss()")
            (self if generator is None else generator).__dict__["gauss_next"] = value

    return WorkflowAwareRandom


def _urandom(seam: Seam[Any]) -> Callable[[int], bytes]:
    real = os.urandom

    def urandom(size: int, /) -> bytes:
        generator = seam.generator("os.urandom()")
        return real(size) if generator is None else generator.randbytes(size)

    return urandom


def _uuid1(seam: Seam[Any]) -> Callable[..., uuid.UUID]:
    real = uuid.uuid1

    def uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        runtime = seam.runtime("uuid.uuid1()")
        if runtime is None:
            return real(node, clock_seq)
        generator = seam.generator("uuid.uuid1()") or random.SystemRandom()
        # The host's address would differ from worker to worker: a random node, marked as such (RFC 9562, 6.10).
        node = generator.getrandbits(48) | 1 << 40 if node is None else node
        clock_seq = generator.getrandbits(14) if clock_seq is None else clock_seq
        ticks = round(runtime.now_seconds() * 1_000_000) * 10 + _GREGORIAN_TO_1970
        fields = (
            ticks & 0xFFFFFFFF,
            ticks >> 32 & 0xFFFF,
            ticks >> 48 & 0x0FFF,
            clock_seq >> 8 & 0x3F,
            clock_seq & 0xFF,
            node,
        )
        return uuid.UUID(fields=fields, version=1)

    return uuid1
