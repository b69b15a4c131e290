"""Dynamic definitions and raw values: what is taken unread, and how it is read later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec import Raw

from perdure import Client, activity, workflow
from perdure._definition import Definition
from perdure.converter import DataConverter, PayloadConverter, RawValue
from perdure.exceptions import ConversionError
from tests.unit.sdk.stand_in import inside
from tests.unit.sdk.test_client import StandInConnection, client, connection

__all__ = ["client", "connection"]


class Hidden:
    """A codec that turns bytes around."""

    encoding = "json/hidden"

    def encode(self, data: bytes) -> bytes:
        return data[::-1]

    def decode(self, data: bytes) -> bytes:
        return data[::-1]


@workflow.defn(dynamic=True)
async def any_workflow(args: Sequence[RawValue]) -> RawValue:
    return args[0]


@activity.defn(dynamic=True)
async def any_activity(args: list[int], **options: str) -> int:
    return sum(args)


@pytest.mark.parametrize("converter", [DataConverter(), DataConverter(payload_codec=Hidden())], ids=["plain", "codec"])
def test_raw_values_pass_through_as_they_came(converter: DataConverter) -> None:
    """Byte for byte, and as the same value inside of a list; a payload codec is opened and closed on the way."""
    raw, kwargs, encoding = converter.encode_args([RawValue(b'{"a":1.50}'), 2], {})
    (first, second), _ = converter.decode_args(raw, kwargs, encoding, [RawValue, int])
    assert (RawValue(b'{"a":1.50}'), 2) == (first, second)
    assert {"a": 1.5} == converter.decode_value(*converter.encode_value(first))
    listed = [RawValue(b'{"a":1.5}'), RawValue(b"[]")]
    assert listed == converter.decode_value(*converter.encode_value(listed), list[RawValue])


def test_raw_values_are_read_as_any_type() -> None:
    """By the payload converter, which says what does not fit."""
    converter = PayloadConverter()
    value = RawValue(converter.to_payload([1, 2]))
    assert ((1, 2), [1, 2]) == (
        converter.from_payload(value.payload, tuple[int, int]),
        converter.from_payload(value.payload),
    )
    with pytest.raises(ConversionError, match="Expected `str`"):
        converter.from_payload(value.payload, str)
    assert 1 == len({value, RawValue(b"[1,2]")})
    assert "RawValue(b'[1,2]')" == repr(value)


@pytest.mark.parametrize(
    ("definition", "types"), [(any_workflow.definition, (RawValue, None)), (any_activity.definition, (int, str))]
)
def test_arguments_are_read_as_the_list_says(definition: Definition, types: tuple[Any, Any]) -> None:
    """Any number of them; keyword arguments only where the function takes any."""
    parameters = definition.resolve().parameters
    assert types == (parameters.rest, parameters.extra)
    args, _ = DataConverter().decode_args(Raw(b"[1,2]"), Raw(b"null"), "", parameters)
    assert 2 == len(args)
    if types[1] is None:
        with pytest.raises(ConversionError, match="unexpected keyword argument 'a'"):
            DataConverter().decode_args(Raw(b"[]"), Raw(b'{"a":"b"}'), "", parameters)


def test_a_dynamic_definition_has_no_name() -> None:
    """It stands for every type that nothing else takes."""
    with pytest.raises(TypeError, match="has no name"):
        workflow.defn(name="x", dynamic=True)(any_workflow.fn)
    with pytest.raises(TypeError, match="has no name"):
        activity.defn(name="x", dynamic=True)(any_activity.fn)


async def _two(one: int, two: int) -> None: ...


async def _none() -> None: ...


async def _needs(args: list[int], *, more: int) -> None: ...


@pytest.mark.parametrize("fn", [_two, _none, _needs])
def test_a_dynamic_definition_takes_one_list(fn: Callable[..., Any]) -> None:
    """Anything else is refused when it is registered."""
    with pytest.raises(TypeError, match="takes one list"):
        workflow.defn(dynamic=True)(fn).definition.resolve()


def test_a_dynamic_handler_takes_a_name_and_a_list() -> None:
    """Anything else is refused when it is declared."""
    with inside(), pytest.raises(TypeError, match="takes the name and one list"):
        workflow.update(dynamic=True)(lambda args: None)


async def test_a_dynamic_definition_is_asked_for_by_a_types_name(client: Client, connection: StandInConnection) -> None:
    """It has no type of its own that could be sent."""
    with pytest.raises(TypeError, match=r"use start_workflow\(name, …\)"):
        await client.start_workflow(any_workflow, [RawValue(b"1")])
    with inside(), pytest.raises(TypeError, match=r"use workflow.execute_activity\(name, …\)"):
        await any_activity([1])
    assert [] == connection.asked


def test_the_payload_converter_belongs_to_running_code() -> None:
    """Outside of a workflow or an activity there is none to ask for."""
    with inside():
        assert 3 == workflow.payload_converter().from_payload(b"3", int)
    for ask in (workflow.payload_converter, activity.payload_converter):
        with pytest.raises(RuntimeError):
            ask()
