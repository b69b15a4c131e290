"""The data converter: what travels, what comes back, and what is refused with which words."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from perdure._signature import resolve
from perdure.converter import ROUND_TRIP_BYTES_MAX, DataConverter
from perdure.exceptions import ConversionError


class Colour(Enum):
    RED = "red"


@dataclass
class Address:
    city: str


@dataclass
class Box:
    width: int


@dataclass
class Ball:
    radius: int


class Order(msgspec.Struct):
    id: UUID
    total: Decimal


class Row(TypedDict):
    key: str


class Model(pydantic.BaseModel):
    at: datetime


class Holder(msgspec.Struct):
    model: Model


class Zip:
    encoding = "json/zlib"

    def encode(self, data: bytes) -> bytes:
        return zlib.compress(data)

    def decode(self, data: bytes) -> bytes:
        return zlib.decompress(data)


CONVERTER = DataConverter()
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

VALUES: list[tuple[Any, Any]] = [
    (None, type(None)),
    (b"\xff\x00", bytes),
    (Decimal("1.10"), Decimal),
    (UUID(int=7), UUID),
    (AT, datetime),
    (Colour.RED, Colour),
    (Address("Oslo"), Address),
    (Order(id=UUID(int=1), total=Decimal(3)), Order),
    ({"key": "a"}, Row),
    ([Address("Oslo"), None], list[Address | None]),
    ({1: "a"}, dict[int, str]),
    (Model(at=AT), Model),
    ([Model(at=AT)], list[Model]),
    (Holder(model=Model(at=AT)), Holder),
    (Ball(3), Box | Ball),
    (AT, datetime | str),
    ("plain", datetime | str),
    (b"\xff", bytes | str),
    ("a\0b", str),
    ("\ud800", str),
    ({"deep": ["\ud800\0"]}, dict[str, list[str]]),
]


@pytest.mark.parametrize(("value", "kind"), VALUES, ids=lambda v: ascii(v)[:30])
def test_values_come_back_as_their_types(value: Any, kind: Any) -> None:
    """What is written as a type is read as it."""
    raw, encoding = CONVERTER.encode_value(value, kind)
    assert value == CONVERTER.decode_value(raw, encoding, kind)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=ascii)
def test_what_postgres_cannot_hold_travels_as_base64(text: str) -> None:
    """A NUL or a lone surrogate changes the encoding, not the value."""
    assert "json/base64" == CONVERTER.encode_value(text)[1]


@pytest.mark.parametrize("kind", [Any, float, list[float], Annotated[float, pydantic.Field(gt=0)]])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_refused(value: float, kind: Any) -> None:
    """NaN and infinities have no JSON form, and the message says so."""
    given = [value] if kind == list[float] else value
    with pytest.raises(ConversionError, match="no JSON form"):
        CONVERTER.encode_value(given, kind)


def test_a_value_that_does_not_fit_fails_when_written() -> None:
    """A small value is read back at once, so the mistake shows where it was made."""
    with pytest.raises(ConversionError, match="Expected `int`, got `str`"):
        CONVERTER.encode_value("3", int)


def test_a_large_value_is_not_read_back() -> None:
    """Beyond the limit the callee finds out, since reading back costs as much as the value."""
    raw, _ = CONVERTER.encode_value(["a"] * ROUND_TRIP_BYTES_MAX, list[int])
    assert len(bytes(raw)) > ROUND_TRIP_BYTES_MAX


def test_constraints_of_pydantic_hold() -> None:
    """A constraint that msgspec would ignore is kept."""
    with pytest.raises(ConversionError, match="greater than 0"):
        CONVERTER.encode_value(-1, Annotated[int, pydantic.Field(gt=0)])


class Tag(Enum):
    A = "a"


def test_a_union_that_json_cannot_tell_apart_is_refused() -> None:
    """A value that would come back as another type fails at the call."""
    with pytest.raises(ConversionError, match="would come back as 'a'"):
        CONVERTER.encode_value(Tag.A, Tag | str)


def test_what_cannot_be_written_is_named() -> None:
    """An object without a JSON form is refused with its class."""
    with pytest.raises(ConversionError, match="values of complex"):
        CONVERTER.encode_value(1j)


async def greet(name: str, *, loud: bool = False) -> str:
    return name


PARAMETERS = resolve(greet, "greet").parameters


def test_arguments_travel_as_they_were_passed() -> None:
    """Positional arguments are an array, keyword arguments an object, defaults stay the callee's."""
    positional, named, encoding = CONVERTER.encode_args(("Ada",), {"loud": True}, PARAMETERS)
    assert (b'["Ada"]', b'{"loud":true}', "") == (bytes(positional), bytes(named), encoding)
    assert (["Ada"], {"loud": True}) == CONVERTER.decode_args(positional, named, encoding, PARAMETERS)


def test_absent_keyword_arguments_are_null() -> None:
    """Without keyword arguments nothing is sent for them."""
    assert b"null" == bytes(CONVERTER.encode_args(("Ada",), {}, PARAMETERS)[1])


MISFITS: list[tuple[tuple[object, ...], dict[str, object], str]] = [
    ((3,), {}, r"greet\(\) argument 'name': Expected `str`, got `int`"),
    (("a",), {"loud": "x"}, r"greet\(\) argument 'loud'"),
    ((), {}, r"missing required arguments: 'name'"),
    (("a", "b"), {}, r"takes 1 positional arguments but 2 were given"),
    (("a",), {"quiet": 1}, r"unexpected keyword argument 'quiet'"),
    (("a",), {"name": "b"}, r"multiple values for argument 'name'"),
]


@pytest.mark.parametrize(("args", "kwargs", "message"), MISFITS)
def test_arguments_that_do_not_fit_are_named(args: Any, kwargs: Any, message: str) -> None:
    """The message names function and argument."""
    with pytest.raises(ConversionError, match=message):
        CONVERTER.encode_args(args, kwargs, PARAMETERS)


def test_arguments_that_arrive_are_checked() -> None:
    """A caller in another language gets the same words."""
    with pytest.raises(ConversionError, match=r"greet\(\) argument 'name'"):
        CONVERTER.decode_args(b"[3]", b"null", "", PARAMETERS)
    with pytest.raises(ConversionError, match="missing"):
        CONVERTER.decode_args(b"[]", b"", "", PARAMETERS)


def test_plain_types_are_enough() -> None:
    """A caller by name knows the positional types alone, or none."""
    with pytest.raises(ConversionError, match="argument 1: Expected `int`"):
        CONVERTER.encode_args(("a",), {}, [int])
    assert b'["a",2]' == bytes(CONVERTER.encode_args(("a", 2), {}, [str])[0])


def test_a_payload_codec_hides_every_value() -> None:
    """With a codec each value is an opaque string, and the encoding names the codec."""
    converter = DataConverter(payload_codec=Zip())
    positional, named, encoding = converter.encode_args(("secret",), {"loud": True}, PARAMETERS)
    assert "json/zlib" == encoding
    assert b"secret" not in bytes(positional)
    assert (["secret"], {"loud": True}) == converter.decode_args(positional, named, encoding, PARAMETERS)


def test_a_missing_codec_is_named() -> None:
    """Who cannot read a value is told which codec it takes."""
    raw, encoding = DataConverter(payload_codec=Zip()).encode_value("a")
    with pytest.raises(ConversionError, match="'json/zlib'"):
        CONVERTER.decode_value(raw, encoding)


def test_a_codec_reads_what_was_written_before_it() -> None:
    """Plain values stay readable once a codec is configured."""
    assert [1] == DataConverter(payload_codec=Zip()).decode_value(*CONVERTER.encode_value([1]))


def test_a_codec_needs_a_name_of_its_own() -> None:
    """A codec cannot pass for plain JSON."""
    with pytest.raises(ValueError, match="json/base64"):
        DataConverter(payload_codec=type("Bad", (Zip,), {"encoding": "json/base64"})())


def test_nothing_at_all_is_null() -> None:
    """An absent value is read as null."""
    assert CONVERTER.decode_value(b"", "", None) is None
    assert () == CONVERTER.decode_values(b"", "")
