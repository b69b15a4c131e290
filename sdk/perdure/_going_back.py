"""The requests with which a client takes a workflow back."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Final, Literal, TypeAlias, TypedDict
from uuid import uuid4

from perdure_proto.service import ResetWorkflowRequest


class ActivityTimeouts(TypedDict, total=False):
    """The timeouts of an activity that are to change."""

    schedule_to_close_timeout: timedelta
    schedule_to_start_timeout: timedelta
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta


ResetPoint: TypeAlias = int | Literal["first", "last"]
Reapplied: TypeAlias = Literal["signal", "update"]

ALL: Final[tuple[Reapplied, ...]] = ("signal", "update")


def reset_request(
    event_id: ResetPoint | None, activity_id: str | None, reapply: Collection[Reapplied], *, reason: str
) -> ResetWorkflowRequest:
    """The request for a point; the last task where none is given. Raises `ValueError` for two or for what is none."""
    if event_id is not None and activity_id is not None:
        raise ValueError("give event_id or activity_id, not both")
    if isinstance(event_id, str) and event_id not in {"first", "last"}:
        raise ValueError(f"a reset goes to the id of an event, to 'first' or to 'last', not to {event_id!r}")
    unknown = sorted(set(reapply) - set(ALL))
    if unknown:
        raise ValueError(f"reapply takes {ALL}, not {unknown[0]!r}")
    if event_id is None and activity_id is None:
        event_id = "last"
    return ResetWorkflowRequest(
        event_id=event_id if isinstance(event_id, int) else 0,
        point=event_id if isinstance(event_id, str) else "",
        activity_id=activity_id or "",
        reapply_exclude=tuple(each for each in ALL if each not in reapply),
        reason=reason,
        request_id=str(uuid4()),
    )
