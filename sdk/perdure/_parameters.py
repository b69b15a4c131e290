"""What a function takes: the types of its parameters, and the check that a call fits them by number and name.

A `Parameters` is also the sequence of its positional types, which is all that a by-name caller knows.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, overload

from perdure.exceptions import ConversionError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Parameters(Sequence[Any]):
    """Types of a function's parameters. `rest` and `extra` are those of `*args` and `**kwargs`, None without."""

    __slots__ = ("extra", "keywords", "names", "owner", "positional", "required", "rest")

    def __init__(self, owner: str, positional: Mapping[str, Any]) -> None:
        self.owner: str = owner
        self.names: tuple[str, ...] = tuple(positional)
        self.positional: tuple[Any, ...] = tuple(positional.values())
        self.keywords: dict[str, Any] = {}
        self.required: frozenset[str] = frozenset(self.names)
        self.rest: Any = None
        self.extra: Any = None

    @classmethod
    def of(cls, owner: str, signature: inspect.Signature, hints: Mapping[str, Any], *, skip: int = 0) -> Parameters:
        """The parameters of a function, without the first `skip`; what has no hint is `Any`."""
        found = list(signature.parameters.values())[skip:]
        types = {p.name: hints.get(p.name, Any) for p in found}
        parameters = cls(owner, {p.name: types[p.name] for p in found if p.kind in _POSITIONAL})
        parameters.keywords = {p.name: types[p.name] for p in found if p.kind in _KEYWORD}
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters.required = frozenset(p.name for p in found if p.default is p.empty and p.kind not in variadic)
        parameters.rest = next((types[p.name] for p in found if p.kind is variadic[0]), None)
        parameters.extra = next((types[p.name] for p in found if p.kind is variadic[1]), None)
        return parameters

    @classmethod
    def unnamed(cls, owner: str, types: Sequence[Any]) -> Parameters:
        """The parameters of a declared message: types by position, names by number."""
        return cls(owner, {str(i): kind for i, kind in enumerate(types, 1)})

    @classmethod
    def collected(cls, owner: str, kind: Any, extra: Any) -> Parameters:
        """What a dynamic definition takes: any number of arguments, each of a type, and perhaps keyword arguments."""
        parameters = cls(owner, {})
        parameters.rest, parameters.extra = kind, extra
        return parameters

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.positional[index]

    def __len__(self) -> int:
        return len(self.positional)

    def name_of(self, index: int) -> str:
        """What messages call the argument at a position."""
        if index < len(self.names) and not self.names[index].isdigit():
            return repr(self.names[index])
        return str(index + 1)

    def check(self, given: int, keywords: Mapping[str, object]) -> None:
        """Raises `ConversionError` unless so many positional and these keyword arguments fit."""
        if given > len(self.names) and self.rest is None:
            raise ConversionError(f"{self.owner}() takes {len(self.names)} positional arguments but {given} were given")
        taken = self.names[:given]
        for name in keywords:
            if name in taken and name in self.keywords:
                raise ConversionError(f"{self.owner}() got multiple values for argument {name!r}")
            if name not in self.keywords and self.extra is None:
                raise ConversionError(f"{self.owner}() got an unexpected keyword argument {name!r}")
        if len(taken) + len(keywords) >= len(self.required) and self.required <= {*taken, *keywords}:
            return
        missing = ", ".join(sorted(map(repr, self.required - {*taken, *keywords})))
        raise ConversionError(f"{self.owner}() is missing required arguments: {missing}")
