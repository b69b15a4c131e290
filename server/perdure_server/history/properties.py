"""What may stand beside a run for people and lists: memo, search attributes and texts within their limits. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure_proto.attributes import wrong_attribute
from perdure_proto.codec import encoder
from perdure_proto.payload import is_unstorable
from perdure_server.config import Limits

_BYTES_A_CHARACTER_MAX = 4
"""In UTF-8: what is short surely need not be encoded."""


def wrong_attributes(attributes: Mapping[str, Any], limits: Limits) -> str | None:
    """Why search attributes cannot be kept as a whole, or None; the message says the limit."""
    if len(attributes) > limits.search_attributes_max:
        return f"{len(attributes)} search attributes, the limit is {limits.search_attributes_max}"
    for name, value in attributes.items():
        if len(name) > limits.id_length_max:
            return f"a search attribute's name has {len(name)} characters, the limit is {limits.id_length_max}"
        wrong = wrong_attribute(name, value)
        if wrong is not None:
            return wrong
        size = len(encoder.encode(value))
        if size > limits.search_attribute_bytes_max:
            return f"search attribute {name!r} has {size} bytes, the limit is {limits.search_attribute_bytes_max}"
    size = len(encoder.encode(attributes))
    if size > limits.search_attributes_bytes_max:
        return f"the search attributes have {size} bytes, the limit is {limits.search_attributes_bytes_max}"
    return None


def wrong_memo(memo: Mapping[str, Any], limits: Limits) -> str | None:
    """Why a memo cannot be kept, or None; the message says the limit."""
    encoded = encoder.encode(memo)
    if is_unstorable(encoded):
        return "the memo holds a character that cannot be kept: NUL"
    if len(encoded) > limits.memo_bytes_max:
        return f"PAYLOAD_TOO_LARGE: the memo has {len(encoded)} bytes, the limit is {limits.memo_bytes_max}"
    return None


def wrong_text(name: str, text: str, bytes_max: int) -> str | None:
    """Why a summary or details cannot be kept, or None; the message says the limit."""
    if len(text) * _BYTES_A_CHARACTER_MAX <= bytes_max:
        return None
    size = len(text.encode(errors="replace"))
    return f"{name} has {size} bytes, the limit is {bytes_max}" if size > bytes_max else None
