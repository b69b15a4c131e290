"""Hypothesis strategies for values of every type in proto, made from the types."""

from __future__ import annotations

import json
import types
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st
from msgspec import Raw, Struct

from perdure_proto.failures import Failure
from perdure_proto.payload import BASE64_JSON

words = st.text(max_size=8)
numbers = st.integers(min_value=-1, max_value=2**63 - 1) | st.integers(min_value=0, max_value=3)
base64s = st.binary(max_size=6).map(lambda data: b64encode(data).decode())
opaque = st.fixed_dictionaries(
    {"metadata": st.dictionaries(st.just("encoding"), base64s | words)}, optional={"data": base64s}
)
scalars = st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | words
json_values = st.recursive(
    scalars | base64s | opaque,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(words, below, max_size=3),
    max_leaves=4,
)
encodings = st.sampled_from(["", "", BASE64_JSON, "temporal/payload", "binary/encrypted", "json/plain"]) | words


def as_raw(value: Any, *, spaced: bool) -> Raw:
    return Raw(json.dumps(value, ensure_ascii=not spaced, separators=(", ", ": ") if spaced else (",", ":")).encode())


raws = st.builds(as_raw, json_values | st.lists(base64s, max_size=2), spaced=st.booleans())

SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: words,
    int: numbers,
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    datetime: st.datetimes(timezones=st.just(UTC)),
    timedelta: st.just(timedelta(0)) | st.timedeltas(timedelta(days=-9), timedelta(days=9000)),
    Raw: raws,
    dict[str, Any]: st.dictionaries(words, json_values, max_size=2),
    type(None): st.none(),
}


@cache
def structs(type_: type[Struct]) -> st.SearchStrategy[Any]:
    """Values of a Struct; each field that has a default is often left at it."""
    hints = get_type_hints(type_)
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for info in msgspec.structs.fields(type_):
        values = encodings if info.name == "encoding" else values_of(hints[info.name])
        (required if info.required else optional)[info.name] = values
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: type_(**fields))


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    if hint in SCALARS:
        return SCALARS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is dict:
        return st.dictionaries(words, values_of(arguments[1]), max_size=2)
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin in {types.UnionType, Union}:
        return st.one_of([values_of(one) for one in arguments])
    return st.deferred(lambda: structs(hint)) if hint is Failure else structs(hint)
