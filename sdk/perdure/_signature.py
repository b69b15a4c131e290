"""Type hints of user functions, resolved once and checked to be types that the converter can read.

Hints are resolved when a definition is registered or first called, not when it is decorated, so that they may name
what stands further down. Functions defined in functions keep the names around them for that.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, TypeVar, get_args, get_type_hints

from perdure._parameters import Parameters
from perdure._type_codec import codec_for
from perdure.exceptions import ConversionError

Scope = Mapping[str, object]
"""Names around a function that was defined in a function."""

_NO_SCOPE: Final[Scope] = {}

_scopes: dict[CodeType, Scope] = {}
"""Scopes of workflows defined in functions, for the hints of the handlers inside of them."""


class Signature(NamedTuple):
    """What a function takes and gives; `result` is `Any` where it does not say."""

    parameters: Parameters
    result: Any


def scope_around(fn: Callable[..., object], frame: FrameType) -> Scope:
    """The names that the hints of a function being decorated may use beside those of its module."""
    if "<locals>" not in getattr(fn, "__qualname__", ""):
        return _NO_SCOPE
    return dict(frame.f_locals)


def remember_scope(fn: Callable[..., object], scope: Scope) -> None:
    """Lets handlers inside of a workflow find the names around the workflow."""
    if scope and (code := getattr(fn, "__code__", None)):
        _scopes[code] = scope


def scope_of_code(code: CodeType) -> Scope:
    """The names around the workflow of this code."""
    return _scopes.get(code, _NO_SCOPE)


def caller(depth: int) -> FrameType:
    """The frame of who called the function that asks, `depth` levels up."""
    return sys._getframe(depth + 1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the only way to the names and the line of the caller


def resolve(fn: Callable[..., object], owner: str, scope: Scope = _NO_SCOPE, *, skip: int = 0) -> Signature:
    """The signature of a function, without its first `skip` parameters.

    Raises `ConversionError` naming the parameter whose hint does not resolve or cannot be read by the converter.
    """
    try:
        hints = get_type_hints(fn, localns=dict(scope) or None, include_extras=True)
    except NameError as error:
        raise ConversionError(
            f"{owner}(): an annotation names {error.name!r}, which is not there; import it at run time, "
            "not only under TYPE_CHECKING"
        ) from None
    parameters = Parameters.of(owner, inspect.signature(fn), hints, skip=skip)
    result = hints.get("return", Any)
    _check(owner, parameters, result)
    return Signature(parameters, result)


def resolve_dynamic(fn: Callable[..., object], owner: str, scope: Scope = _NO_SCOPE, *, skip: int = 0) -> Signature:
    """The signature of a dynamic function: each argument that comes is read as an element of its list of arguments.

    `skip` is the number of parameters before that list. Raises `TypeError` when there is no list or more behind it,
    and `ConversionError` as `resolve` does.
    """
    signature = resolve(fn, owner, scope, skip=skip)
    given = signature.parameters
    if len(given) != 1 or not given.required <= {*given.names}:
        before = "the name and " if skip else ""
        raise TypeError(f"{owner}() is dynamic: it takes {before}one list, such as `args: Sequence[RawValue]`")
    inner = get_args(given.positional[0])
    return Signature(Parameters.collected(owner, inner[0] if inner else Any, given.extra), signature.result)


def _check(owner: str, parameters: Parameters, result: Any) -> None:
    named = {**dict(zip(parameters.names, parameters.positional, strict=True)), **parameters.keywords}
    rest = {"*": parameters.rest, "**": parameters.extra}
    for name, kind in {**named, **{name: kind for name, kind in rest.items() if kind is not None}}.items():
        check_type(kind, f"{owner}() parameter {name!r}")
    check_type(result, f"{owner}() result")


def check_type(kind: Any, place: str) -> None:
    """Raises `ConversionError` unless the converter can read the type; `place` says where it stands."""
    try:
        codec_for(kind)
    except ConversionError as error:
        raise ConversionError(f"{place}: {error}") from None


def is_untyped(kind: Any) -> bool:
    """Whether a type holds a type variable, so that what comes back as it is untyped."""
    return isinstance(kind, TypeVar) or any(map(is_untyped, get_args(kind)))
