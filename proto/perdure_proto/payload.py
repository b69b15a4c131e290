"""Values as they travel: plain JSON that the server never decodes.

A value is a `msgspec.Raw` that holds one JSON value; absent and `null` are the same. `encoding` beside it is empty
for plain JSON and names the codec where one made the value opaque: each opaque value is then a base64 string.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Raw

NULL: Final = Raw(b"null")
"""The JSON value `null`: the default of every payload, left out of the encoding."""

EMPTY_LIST: Final = Raw(b"[]")
"""No arguments."""

PLAIN: Final = ""
"""The encoding of plain JSON."""

BASE64_JSON: Final = "json/base64"
"""Base64 of JSON text: for values that hold `\\u0000` or a lone surrogate, which Postgres cannot unpack."""

_SURROGATE_OR_NUL = re.compile(rb"\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})")


def is_unstorable(value: bytes) -> bool:
    r"""Whether a JSON text may hold an escape that Postgres cannot turn into text (NUL, or a surrogate).

    A pair of surrogates is also reported: rare, and base64 is only a little longer.

    >>> is_unstorable(b'"a\\u0000b"'), is_unstorable(b'"abc"')
    (True, False)
    """
    return b"\\u" in value and _SURROGATE_OR_NUL.search(value) is not None
