"""Headers of calls as they travel: JSON values by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from perdure.exceptions import ConversionError


def headers_of(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Headers as they travel. Raises `ConversionError` for what is no JSON value."""
    if not headers:
        return {}
    try:
        found: dict[str, Any] = msgspec.to_builtins(dict(headers), str_keys=True)
        return found
    except (TypeError, ValueError) as error:
        raise ConversionError(f"headers are JSON values by name: {error}") from error
