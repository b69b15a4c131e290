"""A value that nobody has read yet: what dynamic definitions may take instead of plain values."""

from __future__ import annotations

import json

from msgspec import Raw


class RawValue:
    """A value as JSON, to be read as whatever type fits. It can be passed on as an argument or a result as it is.

    Args:
        payload: the JSON of one value.

    Example:
        >>> from perdure.converter import PayloadConverter
        >>> PayloadConverter().from_payload(RawValue(b'["a"]').payload, tuple[str])
        ('a',)
    """

    __slots__ = ("payload",)

    def __init__(self, payload: Raw | bytes) -> None:
        self.payload: Raw = Raw(payload)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawValue) and bytes(self.payload) == bytes(other.payload)

    def __hash__(self) -> int:
        return hash(bytes(self.payload))

    def __repr__(self) -> str:
        return f"RawValue({bytes(self.payload)!r})"


class RawCodec:
    """Reads and writes `RawValue`s byte for byte."""

    def encode(self, value: object) -> bytes:
        """The JSON that it holds. Raises `TypeError` for anything else."""
        if not isinstance(value, RawValue):
            raise TypeError(f"expected a RawValue, got {type(value).__qualname__}")
        return bytes(value.payload)

    def decode(self, data: bytes | Raw) -> RawValue:
        """The value that holds this JSON."""
        return RawValue(bytes(data))

    def convert(self, value: object) -> RawValue:
        """Plain JSON values, kept as JSON."""
        return RawValue(json.dumps(value, separators=(",", ":")).encode())
