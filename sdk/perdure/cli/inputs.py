"""Values from the command line: JSON in the argument itself, in a file (`@file`) or on standard input (`@-`).

The bytes go to the service as they are, so no number or string changes on the way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import click
import msgspec
from msgspec import Raw

from perdure.cli.exits import usage_error
from perdure.cli.settings import Decorated
from perdure_proto.payload import NULL


def read_arguments(inputs: Sequence[str], option: str = "--input") -> Raw:
    """The positional arguments as one JSON array, one element for each `--input`."""
    return Raw(b"[" + b",".join(_read_value(text, option) for text in inputs) + b"]")


def read_keywords(text: str | None, option: str = "--kwargs") -> Raw:
    """The keyword arguments as a JSON object, or null."""
    return NULL if text is None else Raw(_read_object(text, option)[0])


def read_json(text: str | None, option: str) -> Raw:
    """One value, null by default."""
    return NULL if text is None else Raw(_read_value(text, option))


def read_details(text: str | None, option: str) -> Raw:
    """One value as a list of details."""
    return NULL if text is None else Raw(b"[" + _read_value(text, option) + b"]")


def json_option(flag: str, read: Callable[[str | None, str], object], help: str) -> Callable[[Decorated], Decorated]:
    """An option that is read before the service is asked."""

    def read_text(_ctx: click.Context, _param: click.Parameter, text: str | None) -> object:
        return read(text, flag)

    return click.option(flag, metavar="JSON", callback=read_text, help=help)


def mapping_option(*flags: str, help: str) -> Callable[[Decorated], Decorated]:
    """An option that is given once for each key, as `KEY=JSON`, or as a whole JSON object."""

    def read_texts(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
        return read_pairs(texts, flags[0])

    return click.option(*flags, multiple=True, metavar="KEY=JSON", callback=read_texts, help=help)


def read_pairs(texts: Sequence[str], option: str) -> dict[str, Any]:
    """One mapping from texts such as `color="red"` and `{"size": 3}`; a later one goes over an earlier one."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if text.lstrip().startswith(("{", "@")):
            found.update(_read_object(text, option)[1])
        elif key and equals:
            found[key] = msgspec.json.decode(_read_value(value, f"{option} {key}="))
        else:
            raise usage_error(f"{option} takes KEY=JSON, such as {option} 'color=\"red\"', or a JSON object")
    return found


def read_inputs(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> Raw:
    """The callback of an option that is given once for each argument."""
    return read_arguments(texts)


def input_options(function: Decorated) -> Decorated:
    """`--input` and `--kwargs`: the arguments of a call; `--header`: what interceptors are sent along with it."""
    function = mapping_option("--header", help="What interceptors are sent along: once for each name.")(function)
    function = json_option("--kwargs", read_keywords, "Keyword arguments: a JSON object, @FILE or @-.")(function)
    return click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="JSON",
        callback=read_inputs,
        help="An argument: JSON, @FILE, or @- for standard input. Repeat it for several.",
    )(function)


def _read_object(text: str, option: str) -> tuple[bytes, dict[str, Any]]:
    data = _read_value(text, option)
    value = msgspec.json.decode(data)
    if not isinstance(value, dict):
        raise usage_error(f"{option} takes a JSON object, such as '{{\"gift\": true}}'")
    return data, cast("dict[str, Any]", value)


def _read_value(text: str, option: str) -> bytes:
    data = _read_bytes(text, option).strip()
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = f"; a string keeps its quotes: {option} '\"{text}\"'" if text.isalnum() else ""
        raise usage_error(f"{option} is not valid JSON: {error}{hint}") from None
    return data


def _read_bytes(text: str, option: str) -> bytes:
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    if text == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise usage_error(f"{option} cannot read {text[1:]}: {error.strerror or error}") from None
