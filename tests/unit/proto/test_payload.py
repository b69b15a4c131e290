"""What Postgres could not turn into text is recognised."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_proto.payload import is_unstorable


@pytest.mark.parametrize(
    "text",
    [
        rb'"\u0000"',
        rb'"a\u0000b"',
        rb'{"\u0000":1}',
        rb'"\ud800"',
        rb'"\uDFFF"',
        rb'"\udBff"',
        rb'"\ud83d\ude00"',
    ],
)
def test_nul_and_surrogates_are_unstorable(text: bytes) -> None:
    """An escape of NUL or of a surrogate is found wherever it stands, in both cases."""
    assert is_unstorable(text)


@pytest.mark.parametrize(
    "text",
    [b'"abc"', b"null", b"", rb'"\u0001"', rb'"\u00e9"', rb'"\ud7ff"', rb'"\ue000"', rb'"\n\\"', '"é😀"'.encode()],
)
def test_other_texts_are_storable(text: bytes) -> None:
    """Other escapes, and characters beyond the basic plane as UTF-8, are text like any other."""
    assert not is_unstorable(text)


@given(st.text(st.characters()))
def test_no_text_with_a_nul_passes(text: str) -> None:
    """Whatever stands around it, a NUL is found in what a JSON encoder writes."""
    assert is_unstorable(json.dumps(text + "\0", ensure_ascii=False).encode("utf-8", "surrogatepass"))
