"""Handlers: nested functions of a workflow that take its signals, queries and updates.

A decorator checks the function and hands it to the runtime, which delivers soon after, never inline. Signatures are
read once for each piece of code, since the same nested function is made anew in every run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from types import CodeType, FrameType, FunctionType
from typing import Any, Final, Generic, Literal, NamedTuple, ParamSpec, Protocol, TypeVar, cast

from perdure._parameters import Parameters
from perdure._runtime import Handler, WorkflowRuntime, current
from perdure._signature import Signature, caller, resolve, resolve_dynamic, scope_of_code

P = ParamSpec("P")
R = TypeVar("R")
FN = TypeVar("FN", bound=Callable[..., Any])
R_co = TypeVar("R_co", covariant=True)

Kind = Literal["signal", "query", "update"]


class HandlerUnfinishedPolicy(StrEnum):
    """Whether a workflow that ends while a handler runs abandons it with a warning in the log, or without."""

    WARN_AND_ABANDON = "warn_and_abandon"
    ABANDON = "abandon"


UnfinishedPolicy = HandlerUnfinishedPolicy | Literal["warn_and_abandon", "abandon"]


class Declared(Protocol):
    """A message that has types of its own."""

    def parameters(self) -> Parameters | None:
        """What it takes."""
        ...

    def result_type(self) -> Any:
        """What it gives."""
        ...

    @property
    def description(self) -> str:
        """For people."""
        ...


class Declaration(NamedTuple):
    """What a handler is declared as; `name` None takes every message without a handler of its own."""

    kind: Kind
    name: str | None
    message: Declared | None = None
    description: str = ""
    unfinished_policy: UnfinishedPolicy = "warn_and_abandon"


_signatures: Final[dict[tuple[CodeType, Kind, str | None], Signature]] = {}


def runtime_for(what: str) -> WorkflowRuntime:
    """The runtime of the workflow that runs now. Raises `RuntimeError` outside of one, naming what was called."""
    runtime = current.get()
    if runtime is None:
        raise RuntimeError(f"{what} works only inside a workflow")
    return runtime


def declare(declaration: Declaration, fn: FN, depth: int = 2) -> FN:
    """Declares a function as a handler; `depth` leads from here to the frame of the workflow.

    Raises `TypeError` when it does not fit, or assigns a variable of the workflow without `nonlocal`, and `ValueError`
    for a policy that is none.
    """
    kind, name = declaration.kind, declaration.name
    runtime = runtime_for(f"@workflow.{kind}")
    frame = caller(depth)
    key = (_check(declaration, fn, frame), kind, name)
    signature = _signatures.get(key)
    if signature is None:
        signature = _signatures[key] = _read(declaration, fn, frame)
    message = declaration.message
    runtime.set_handler(
        Handler(
            kind=kind,
            name=name,
            fn=fn,
            arg_types=signature.parameters,
            kwarg_types=signature.parameters.keywords,
            result_type=signature.result,
            unfinished_policy=HandlerUnfinishedPolicy(declaration.unfinished_policy),
            description=declaration.description or (message.description if message else ""),
        )
    )
    return fn


def declare_validator(name: str | None, fn: FN, depth: int = 2) -> FN:
    """Declares a function as the validator of an update. Raises as `declare` does."""
    runtime = runtime_for("an update validator")
    if inspect.iscoroutinefunction(fn):
        raise TypeError(f"the validator of update {name!r} is a plain def: it decides at once")
    refuse_lost_assignments(fn, caller(depth))
    runtime.set_validator(name, fn)
    return fn


def _check(declaration: Declaration, fn: Callable[..., Any], frame: FrameType) -> CodeType:
    if declaration.kind == "query" and inspect.iscoroutinefunction(fn):
        raise TypeError(f"query {declaration.name!r} is a plain def: it answers at once and waits for nothing")
    refuse_lost_assignments(fn, frame)
    return cast(FunctionType, inspect.unwrap(fn)).__code__


def refuse_lost_assignments(fn: Callable[..., Any], frame: FrameType) -> None:
    """Raises `TypeError` where a handler assigns a variable of the workflow around it without `nonlocal`.

    Such an assignment makes a new variable that is gone when the handler returns: the workflow waits for ever.
    """
    code: CodeType | None = getattr(fn, "__code__", None)
    if code is None or code not in frame.f_code.co_consts:
        return
    parameters = code.co_argcount + code.co_kwonlyargcount
    parameters += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    assigned = {*code.co_varnames[parameters:], *(set(code.co_cellvars) - {*code.co_varnames[:parameters]})}
    lost = sorted(assigned & {*frame.f_code.co_cellvars, *frame.f_code.co_freevars})
    if lost:
        raise TypeError(
            f"the handler {code.co_name} (line {code.co_firstlineno}) assigns {', '.join(lost)}, a variable of the "
            f"workflow, without saying so: add 'nonlocal {', '.join(lost)}', or choose another name"
        )


def _read(declaration: Declaration, fn: Callable[..., Any], frame: FrameType) -> Signature:
    """The signature of a handler, with the types of its declaration where it has one."""
    owner = declaration.name or fn.__name__
    if declaration.name is None:
        return resolve_dynamic(fn, owner, scope_of_code(frame.f_code), skip=1)
    signature = resolve(fn, owner, scope_of_code(frame.f_code))
    declared = declaration.message.parameters() if declaration.message else None
    if declared is None or declaration.message is None:
        return signature
    parameters = signature.parameters
    if parameters.rest is None and len(parameters) < len(declared):
        raise TypeError(f"{declaration.kind} {owner!r} carries {len(declared)} values, its handler takes fewer")
    own = parameters.positional[len(declared) :]
    names = (parameters.names + declared.names[len(parameters) :])[: len(declared) + len(own)]
    merged = Parameters(owner, dict(zip(names, (*declared.positional, *own), strict=True)))
    merged.keywords = {name: merged.positional[names.index(name)] if name in names else kind
                       for name, kind in parameters.keywords.items()}  # fmt: skip
    merged.required, merged.rest, merged.extra = parameters.required, parameters.rest, parameters.extra
    return Signature(merged, declaration.message.result_type())


class UpdateHandler(Generic[P, R_co]):
    """A nested function declared with `@workflow.update`; `.validator` decorates what may refuse the update."""

    def __init__(self, name: str | None, fn: Callable[P, R_co]) -> None:
        self.fn = fn
        self._name = name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Calls the function."""
        return self.fn(*args, **kwargs)

    def validator(self, fn: Callable[P, None], /) -> Callable[P, None]:
        """Declares a nested `def` as what may refuse the update: any exception it raises rejects it. Decorates.

        Raises `TypeError` for an `async def`.
        """
        return declare_validator(self._name, fn)
