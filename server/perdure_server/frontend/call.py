"""One request to the API, decoded: names from its path, parameters from its query, a Struct from its body.

A name in a path is percent-encoded by the caller and may hold any character but control characters, a slash included.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import unquote

from msgspec import Meta, Struct

from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import UpdateStage

CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
PAGE_MAX = 1_000
PAGE_DEFAULT = 100
ZERO = timedelta(0)


class Parameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every set of query parameters is; an unknown name is refused, for it is a slip of the pen."""


class NoParameters(Parameters, frozen=True, kw_only=True):
    """None."""


class MemberParameters(Parameters, frozen=True, kw_only=True, gc=False):
    """`server` is the member that is to be asked; whoever gets the request passes it on. Empty: whoever gets it."""

    server: str = ""


class RunParameters(Parameters, frozen=True, kw_only=True):
    """Which run; the current one when empty."""

    run_id: str = ""


class ResultParameters(RunParameters, frozen=True, kw_only=True):
    """`wait` is an ISO 8601 duration (`PT20S`) or seconds; without it the answer comes at once."""

    wait: timedelta = ZERO


class HistoryParameters(ResultParameters, frozen=True, kw_only=True):
    """`after` is the id of the last event that the caller has."""

    after: Annotated[int, Meta(ge=0)] = 0


class OutcomeParameters(ResultParameters, frozen=True, kw_only=True):
    """The stage to wait for."""

    wait_for_stage: UpdateStage = "COMPLETED"


class CountParameters(Parameters, frozen=True, kw_only=True):
    """`query` is a list filter; everything when empty."""

    query: str = ""


class ListParameters(CountParameters, frozen=True, kw_only=True):
    """`cursor` is the `next_cursor` of the page before."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    cursor: str = ""


class Call(Struct, frozen=True, gc=False):
    """What a handler gets. `names` are those of the path, the namespace first; `body` and `query` fit the route."""

    names: list[str]
    query: Any
    body: Any


def name_of(segment: str, length_max: int) -> str:
    """A segment of a path as the name it stands for."""
    try:
        name = unquote(segment, errors="strict") if "%" in segment else segment
    except UnicodeDecodeError:
        raise ServiceError(Code.INVALID_ARGUMENT, f"{segment!r} in the path is not UTF-8, percent-encoded") from None
    if not name:
        raise ServiceError(Code.INVALID_ARGUMENT, "a name in the path is empty")
    if len(name) > length_max:
        raise ServiceError(Code.ID_TOO_LONG, f"an id has at most {length_max} characters, this one {len(name)}")
    if CONTROL.search(name):
        raise ServiceError(Code.INVALID_ARGUMENT, f"an id has no control characters: {name!r}")
    return name
