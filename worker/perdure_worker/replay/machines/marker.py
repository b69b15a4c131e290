"""Markers: patches, and local activities, whose only trace in history is the marker that holds their result.

A local activity has no event until it ends: cancelled before that, it leaves none, since the code that cancels it
does so again on replay. With `wait_cancel` it ends by itself and its marker says how. One that is to be tried again
after a long pause ends with a marker that says so, and begins anew when the timer of that pause fires.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar, Final, Literal

import msgspec
from msgspec import Raw, Struct

from perdure_proto.events import MarkerRecorded
from perdure_proto.failures import RetryState
from perdure_proto.options import CancellationType
from perdure_proto.payload import NULL
from perdure_worker.replay.machines.table import Machine

PATCH: Final = "patch"
LOCAL_ACTIVITY: Final = "local_activity"

PatchState = Literal["created", "recorded"]
PatchInput = Literal["recorded"]
PatchAction = Literal["nothing"]

PATCH_TABLE: Final[Mapping[tuple[PatchState, PatchInput], tuple[PatchState, PatchAction]]] = MappingProxyType(
    {("created", "recorded"): ("recorded", "nothing")}
)

State = Literal["pending", "awaiting_cancel", "ended", "recorded", "canceled"]
Input = Literal["ended", "recorded", "try_cancel", "wait_cancel", "abandon"]
Action = Literal["nothing", "record", "stop"]

TABLE: Final[Mapping[tuple[State, Input], tuple[State, Action]]] = MappingProxyType(
    {
        ("pending", "ended"): ("ended", "record"),
        ("pending", "try_cancel"): ("canceled", "stop"),
        ("pending", "wait_cancel"): ("awaiting_cancel", "stop"),
        ("pending", "abandon"): ("canceled", "nothing"),
        ("awaiting_cancel", "wait_cancel"): ("awaiting_cancel", "nothing"),
        ("awaiting_cancel", "ended"): ("ended", "record"),
        ("ended", "recorded"): ("recorded", "nothing"),
    }
)

CANCELS: Final[Mapping[CancellationType, Input]] = MappingProxyType(
    {
        "try_cancel": "try_cancel",
        "wait_cancellation_completed": "wait_cancel",
        "wait_cancellation_requested": "try_cancel",
        "abandon": "abandon",
    }
)
"""What each cancellation type means to a local activity."""


class PatchMachine(Machine[PatchState, PatchInput, PatchAction]):
    """One patch, by its id."""

    __slots__ = ()

    family: ClassVar[str] = "patch"
    table: ClassVar[Mapping[tuple[PatchState, PatchInput], tuple[PatchState, PatchAction]]] = PATCH_TABLE

    def __init__(self, name: str) -> None:
        super().__init__("created", name, None)


class LocalActivityMachine(Machine[State, Input, Action]):
    """One local activity, by its activity id."""

    __slots__ = ("activity_type",)

    family: ClassVar[str] = "local activity"
    table: ClassVar[Mapping[tuple[State, Input], tuple[State, Action]]] = TABLE

    def __init__(self, name: str, activity_type: str, waiter: object) -> None:
        super().__init__("pending", name, waiter)
        self.activity_type = activity_type


class PatchDetails(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`details` of a patch marker."""

    patch_id: str
    deprecated: bool = False


class LocalActivityDetails(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`details` of a local activity's marker; `encoding` is that of `result`.

    With `backoff` this is not its end: a durable timer runs so long, then it goes on with the attempt after `attempt`.
    """

    activity_id: str
    activity_type: str
    attempt: int = 1
    result: Raw = NULL
    encoding: str = ""
    backoff: timedelta | None = None
    retry_state: RetryState = "IN_PROGRESS"
    """Why it was not tried again, where it failed; `IN_PROGRESS` in markers of old."""


_patch_details = msgspec.json.Decoder(PatchDetails)
_local_details = msgspec.json.Decoder(LocalActivityDetails)


def patch_details(marker: MarkerRecorded) -> PatchDetails:
    """What a patch marker says."""
    return _patch_details.decode(marker.details)


def local_activity_details(marker: MarkerRecorded) -> LocalActivityDetails:
    """What the marker of a local activity says."""
    return _local_details.decode(marker.details)
