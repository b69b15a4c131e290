"""Tokens: what is in them comes out, and nothing else is taken for one."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from string import ascii_letters, digits
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from perdure_proto.ids import ID_LENGTH_MAX
from perdure_proto.waitpoints import NAME_BYTES_MAX, WaitpointToken, key_of, opened, sealed

KEY = key_of(b"secret", "default")
ALPHABET = ascii_letters + digits + "-_"

tokens = st.builds(
    WaitpointToken,
    namespace_id=st.integers(0, 2**32 - 1),
    shard_id=st.integers(0, 2**32 - 1),
    run_id=st.uuids().map(str),
    number=st.integers(1, 2**32 - 1),
    expires_at_ms=st.integers(0, 2**64 - 1),
    name=st.text(max_size=NAME_BYTES_MAX // 4),
)
TOKEN = WaitpointToken(namespace_id=1, shard_id=7, run_id=str(UUID(int=5)), number=1, name="approval")


@given(tokens)
def test_a_token_says_what_was_put_in(token: WaitpointToken) -> None:
    """Whatever the name; it fits where an id does."""
    text = sealed(token, KEY)
    assert token == opened(text, lambda _: KEY)
    assert len(text) <= ID_LENGTH_MAX


def test_the_longest_name_fits() -> None:
    """In a path, and as a request id."""
    text = sealed(structs.replace(TOKEN, name="x" * NAME_BYTES_MAX), KEY)
    assert len(text) <= ID_LENGTH_MAX


def test_no_other_character_is_taken() -> None:
    """Every change of one character is refused; also one that changes no byte."""
    text = sealed(TOKEN, KEY)
    same_bytes = 0
    for place in range(len(text)):
        for character in ALPHABET.replace(text[place], ""):
            changed = text[:place] + character + text[place + 1 :]
            same_bytes += _bytes(changed) == _bytes(text)
            assert opened(changed, lambda _: KEY) is None
    assert same_bytes > 0


@given(st.text())
def test_no_other_text_is_taken(text: str) -> None:
    """Nor does any raise."""
    assert opened(text, lambda _: KEY) is None


def test_every_namespace_has_its_key() -> None:
    """And every secret."""
    keys = {key_of(b"secret", "default"), key_of(b"secret", "other"), key_of(b"another", "default")}
    assert 3 == len(keys)
    assert opened(sealed(TOKEN, key_of(b"secret", "other")), lambda _: KEY) is None
    assert opened(sealed(TOKEN, KEY), lambda _: None) is None


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
