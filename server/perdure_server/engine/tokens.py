"""Task tokens: what a completion names, readable without state, so that an owner that never saw the start can judge it.

A token is no secret and grants nothing: what it says is checked against the state of the run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from perdure_proto.errors import Code, ServiceError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WORKFLOW_PARTS = 7
_ACTIVITY_PARTS = 6, 7
_QUERY_PARTS = 4


class WorkflowToken(Struct, frozen=True):
    """A workflow task in a worker's hands."""

    shard_id: int
    run_id: str
    scheduled_event_id: int
    started_event_id: int
    attempt: int
    started_at: datetime

    def __str__(self) -> str:
        ids = f"{self.scheduled_event_id}.{self.started_event_id}.{self.attempt}"
        return f"w.{self.shard_id}.{self.run_id}.{ids}.{_micros(self.started_at)}"


class ActivityToken(Struct, frozen=True):
    """An attempt of an activity in a worker's hands. `stamp`: how often the activity had been begun anew."""

    shard_id: int
    run_id: str
    scheduled_event_id: int
    attempt: int
    started_at: datetime
    stamp: int = 0

    def __str__(self) -> str:
        text = f"a.{self.shard_id}.{self.run_id}.{self.scheduled_event_id}.{self.attempt}.{_micros(self.started_at)}"
        return f"{text}.{self.stamp}" if self.stamp else text


class QueryToken(Struct, frozen=True):
    """Queries in a worker's hands."""

    shard_id: int
    run_id: str
    number: int

    def __str__(self) -> str:
        return f"q.{self.shard_id}.{self.run_id}.{self.number}"


AnyToken = WorkflowToken | ActivityToken | QueryToken


def is_activity(text: str) -> bool:
    """Whether it is the token of an activity, if it is one at all."""
    return text.startswith("a.")


def parse(text: str) -> AnyToken:
    """The token that a text spells. Raises `ServiceError` with `TASK_NOT_FOUND` when it is none of ours."""
    parts = text.split(".")
    try:
        if parts[0] == "w" and len(parts) == _WORKFLOW_PARTS:
            scheduled, started, attempt = map(int, parts[3:6])
            return WorkflowToken(int(parts[1]), parts[2], scheduled, started, attempt, _moment(parts[6]))
        if parts[0] == "a" and len(parts) in _ACTIVITY_PARTS:
            stamp = int(parts[6]) if len(parts) > _ACTIVITY_PARTS[0] else 0
            return ActivityToken(int(parts[1]), parts[2], int(parts[3]), int(parts[4]), _moment(parts[5]), stamp)
        if parts[0] == "q" and len(parts) == _QUERY_PARTS:
            return QueryToken(int(parts[1]), parts[2], int(parts[3]))
    except (ValueError, OverflowError):
        pass
    raise ServiceError(Code.TASK_NOT_FOUND, f"{text[:100]!r} is not a task token of this service")


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _moment(micros: str) -> datetime:
    return _EPOCH + timedelta(microseconds=int(micros))
