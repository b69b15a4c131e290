"""The scan of a workflow's code for what no patch can reach: `datetime.now()` and its kin.

It reads code objects and resolves names as the code would, in globals, closures and local imports, so `clock.now()`
of somebody's clock is no finding; it follows functions and classes of the workflow's own package. It also finds what
a module imported by name before the guard was there (`from time import time`). It runs nothing and imports nothing.
"""

from __future__ import annotations

import builtins
import dis
import sys
from collections import deque
from datetime import date
from importlib.util import resolve_name
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from perdure_worker.guard.seam import originals

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS_MAX = 2000

_CLOCK_METHODS = frozenset({"now", "utcnow", "today"})
_CONSTRUCTORS = frozenset({"__new__", "__init__", "__post_init__"})
# They leave what was loaded last where it is.
_NEUTRAL = frozenset({"PUSH_NULL", "RESUME", "NOP", "EXTENDED_ARG", "COPY_FREE_VARS", "MAKE_CELL", "CACHE", "SWAP"})
_UNKNOWN = object()


class Finding(Struct, frozen=True, kw_only=True):
    """One place in a workflow's code whose value would differ on replay."""

    call: str
    function: str
    filename: str
    line: int
    remedy: str

    def __str__(self) -> str:
        return f"{self.call} in {self.function} ({self.filename}:{self.line}): {self.remedy}"


def find_wall_clock_calls(fn: object) -> list[Finding]:
    """Scan a workflow's function and the helpers of its package, in the order in which they are reached."""
    if not isinstance(fn, FunctionType):
        return []
    scan = _Scan(_root(fn))
    scan.follow(fn)
    return scan.run()


def _root(value: object) -> str:
    return str(getattr(value, "__module__", None) or "").partition(".")[0]


class _Scan:
    """The functions still to read, and what has been found."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._waiting: deque[FunctionType] = deque()
        self._seen: set[CodeType] = set()
        self._classes: dict[type, set[str]] = {}
        self._attributes = set(_CONSTRUCTORS)
        self._findings: list[Finding] = []

    def run(self) -> list[Finding]:
        while self._waiting:
            while self._waiting:
                fn = self._waiting.popleft()
                self._read(fn.__code__, _Names(fn), fn)
            self._follow_methods()
        return self._findings

    def follow(self, value: object) -> None:
        """Queue a function or a class of the workflow's package."""
        if isinstance(value, MethodType):
            value = value.__func__
        if _root(value) != self._root:
            return
        if isinstance(value, FunctionType):
            if value.__code__ not in self._seen and len(self._seen) < FUNCTIONS_MAX:
                self._seen.add(value.__code__)
                self._waiting.append(value)
            self.follow(getattr(value, "__wrapped__", None))
        elif isinstance(value, type):
            self._classes.setdefault(value, set())

    def _follow_methods(self) -> None:
        """Queue the methods of known classes whose names some code loads: the nearest thing to a call of them."""
        for cls, followed in list(self._classes.items()):
            for name in [n for n in vars(cls) if n in self._attributes and n not in followed]:
                followed.add(name)
                self.follow(_plain(vars(cls)[name]))

    def _read(self, code: CodeType, names: _Names, fn: FunctionType) -> None:
        for instruction, value in names.loads(code):
            if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                self._attributes.add(instruction.argval)
            if value is not _UNKNOWN:
                self._judge(value, instruction, code)
                self.follow(value)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._read(constant, names, fn)

    def _judge(self, value: object, instruction: dis.Instruction, code: CodeType) -> None:
        call, remedy = _verdict(value)
        if call:
            line = instruction.positions.lineno if instruction.positions else None
            self._findings.append(
                Finding(
                    call=call,
                    function=code.co_qualname,
                    filename=code.co_filename,
                    line=line or code.co_firstlineno,
                    remedy=remedy,
                )
            )


def _verdict(value: object) -> tuple[str, str]:
    owner = getattr(value, "__self__", None) if isinstance(value, BuiltinFunctionType) else None
    if isinstance(owner, type) and issubclass(owner, date) and getattr(value, "__name__", "") in _CLOCK_METHODS:
        name = getattr(value, "__name__", "")
        remedy = "use workflow.now().date()" if name == "today" else "use workflow.now()"
        return f"{owner.__name__}.{name}()", remedy
    known_as, original = originals.get(id(value), ("", None))
    if known_as and original is value:
        module = known_as.partition(".")[0]
        return f"{known_as}()", f"imported by name before the guard: write `import {module}` and `{known_as}()`"
    return "", ""


def _plain(value: object) -> object:
    if isinstance(value, (staticmethod, classmethod)):
        return value.__func__
    return value.fget if isinstance(value, property) else value


class _Names:
    """What the names of one function stand for, as far as it can be told without running it."""

    def __init__(self, fn: FunctionType) -> None:
        self._globals = fn.__globals__
        self._locals: dict[str, object] = {}
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            try:
                self._locals[name] = cell.cell_contents
            except ValueError:  # the cell is still empty
                self._locals[name] = _UNKNOWN

    def loads(self, code: CodeType) -> Iterator[tuple[dis.Instruction, object]]:
        """Each instruction that loads something, with what is then on top of the stack."""
        top: object = _UNKNOWN
        module: object = _UNKNOWN
        constants: list[object] = [0, None]
        for instruction in dis.get_instructions(code):
            op, name = instruction.opname, instruction.argval
            if op in _NEUTRAL:
                continue
            if op == "IMPORT_NAME":
                top = module = self._module(name, *constants[-2:])
            elif op == "IMPORT_FROM":
                top = _attribute(module, name)
                yield instruction, top
            elif op.startswith("STORE_") and op.partition("_")[2] in _STORES:
                top = self._store(op, name, top)
            elif op.startswith("LOAD_"):
                top = self._load(op, name, top, constants)
                yield instruction, top
            else:
                top = _UNKNOWN

    def _load(self, op: str, name: Any, top: object, constants: list[object]) -> object:  # noqa: ANN401 - what it is depends on the opcode
        if op in ("LOAD_CONST", "LOAD_SMALL_INT"):
            constants.append(name)
            return _UNKNOWN
        if op in ("LOAD_ATTR", "LOAD_METHOD"):
            return _attribute(top, name)
        if op in ("LOAD_GLOBAL", "LOAD_NAME"):
            return self._global(name) if op == "LOAD_GLOBAL" else self._locals.get(name, self._global(name))
        # Python 3.13 loads two variables at a time; the second ends on top.
        return self._locals.get(name[-1] if isinstance(name, tuple) else name, _UNKNOWN)

    def _store(self, op: str, name: str | tuple[str, str], top: object) -> object:
        first, second = name if isinstance(name, tuple) else (name, "")
        self._locals[first] = top
        if op == "STORE_FAST_STORE_FAST":
            self._locals[second] = _UNKNOWN
        return self._locals.get(second, _UNKNOWN) if op == "STORE_FAST_LOAD_FAST" else _UNKNOWN

    def _global(self, name: str) -> object:
        return self._globals.get(name, vars(builtins).get(name, _UNKNOWN))

    def _module(self, name: str, level: object, names: object) -> object:
        if isinstance(level, int) and level > 0:
            name = resolve_name("." * level + name, str(self._globals.get("__package__") or ""))
        return sys.modules.get(name if names else name.partition(".")[0], _UNKNOWN)


_STORES = frozenset({"FAST", "DEREF", "NAME", "GLOBAL", "FAST_STORE_FAST", "FAST_LOAD_FAST"})


def _attribute(owner: object, name: str) -> object:
    """Look an attribute of a module or a class up without running any code of theirs."""
    if isinstance(owner, ModuleType):
        return vars(owner).get(name, _UNKNOWN)
    if isinstance(owner, type):
        found = next((vars(cls)[name] for cls in owner.__mro__ if name in vars(cls)), _UNKNOWN)
        if issubclass(owner, date) and name in _CLOCK_METHODS and not isinstance(found, classmethod):
            return getattr(owner, name)
        return _plain(found)
    return _UNKNOWN
