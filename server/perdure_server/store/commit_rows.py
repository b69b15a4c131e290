"""A batch as columns: rows of each kind, sorted by primary key, turned into the arrays that the commit statement binds.

Pure. A start and a change of one run in the same batch are one visibility row; starts that replace each other in the
same batch (start, close, continue as new) are one claim of the workflow id, that of the last of them, because a
statement does not see its own writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct

from perdure_server.store.port import STATUS_NUMBERS, Append, CommitBatch, Fence, RunChange, RunStart

Row = Any  # one of the port's Structs; the columns below name its fields
Column = Callable[[Row], object]
RUNNING = STATUS_NUMBERS["RUNNING"]


class Claim(Struct, frozen=True):
    """A workflow id that gets a new current run."""

    shard_id: int
    namespace_id: int
    workflow_id: str
    run_id: str
    old_run_id: str
    gated: bool


class Begun(Struct, frozen=True):
    """The first append of a run; it lands if `claim` is the run id of a claim that won."""

    shard_id: int
    run_id: str
    claim: str
    first: int
    last: int
    events: bytes


class Visible(Struct, frozen=True):
    """A new visibility row, with what changed in it in the same batch."""

    start: RunStart
    status: int
    close_time: object
    history_length: int
    new_run_id: str | None
    memo: bytes | None
    search_attributes: bytes | None


def or_null(name: str) -> Column:
    """The field, or null where it is an empty string."""
    get = attrgetter(name)
    return lambda row: get(row) or None


def fields(*names: str, **renamed: Column) -> dict[str, Column]:
    """Columns named like the fields, then those that differ."""
    return {name: attrgetter(name) for name in names} | renamed


RUN = ("shard_id", "run_id")
COLUMNS: Mapping[str, dict[str, Column]] = {
    "continued": fields(
        *RUN,
        "events",
        previous=attrgetter("previous_first_event_id"),
        first=attrgetter("first_event_id"),
        last=attrgetter("last_event_id"),
    ),
    "free": fields(*RUN, "namespace_id", "workflow_id"),
    "replaced": fields(*RUN, "namespace_id", "workflow_id", "old_run_id", "gated"),
    "begun": fields(*RUN, "claim", "last", "events"),
    "begun_first": fields(id=attrgetter("first")),
    "visible": {
        name: attrgetter(f"start.{name}")
        for name in (
            *RUN,
            "namespace_id",
            "workflow_id",
            "workflow_type",
            "task_queue",
            "start_time",
            "request_id",
            "first_run_id",
        )
    }
    | fields("status", "close_time", "history_length", "new_run_id", "memo", "search_attributes"),
    "changed": fields(
        *RUN,
        "status",
        "close_time",
        "history_length",
        "memo",
        "search_attributes",
        new_run_id=or_null("new_run_id"),
    ),
    "activities": fields(
        *RUN,
        "scheduled_event_id",
        "attempt",
        "attempt_scheduled_at",
        "started_at",
        "identity",
        "session",
        "next_attempt_at",
        "heartbeat_at",
        "heartbeat_details",
        "heartbeat_encoding",
        "last_failure",
        "transactional",
        "control",
        "permit",
    ),
    "activities_gone": fields(*RUN, "scheduled_event_id"),
    "activities_cleared": fields(*RUN),
    "buffered": fields(*RUN, "position", "event"),
    "buffer_flushed": fields(*RUN),
    "wakes": fields(*RUN, "wake_at", "owed"),
    "wakes_gone": fields(*RUN),
    "parked": fields(
        *RUN, "scheduled_event_id", "namespace_id", "task_queue", "kind", "priority", "fairness_key", "turn"
    ),
    "unparked": fields(*RUN, "scheduled_event_id"),
    "snapshots": fields(*RUN, "last_event_id", "version", "state"),
}
"""For each kind of row the parameter's name (after the kind) and where its value is."""

GATED = frozenset(COLUMNS) - {"continued", "free", "replaced", "begun", "begun_first", "visible"}
"""Kinds whose rows wait for the append of their run, if it has one in the batch."""

SORT_KEYS: Mapping[str, Callable[[Row], Any]] = {
    "free": attrgetter("shard_id", "namespace_id", "workflow_id"),
    "replaced": attrgetter("shard_id", "namespace_id", "workflow_id"),
    "visible": attrgetter("start.shard_id", "start.run_id"),
    "activities": attrgetter(*RUN, "scheduled_event_id"),
    "activities_gone": attrgetter(*RUN, "scheduled_event_id"),
    "buffered": attrgetter(*RUN, "position"),
    "parked": attrgetter("priority", "turn", *RUN, "scheduled_event_id"),
    "unparked": attrgetter(*RUN, "scheduled_event_id"),
}
"""By primary key, as the lock order demands; `parked` in the order in which its tasks shall come back."""

BY_RUN = attrgetter(*RUN)


def rows_by_kind(batch: CommitBatch) -> dict[str, Sequence[Row]]:
    """The rows of the batch by kind; kinds without rows are absent."""
    rows: dict[str, Sequence[Row]] = {
        "continued": [append for append in batch.appends if append.previous_first_event_id],
        "changed": batch.changes,
        "activities": batch.activities,
        "activities_gone": batch.activities_gone,
        "activities_cleared": batch.activities_cleared,
        "buffered": batch.buffered,
        "buffer_flushed": batch.buffer_flushed,
        "wakes": batch.wakes,
        "wakes_gone": batch.wakes_gone,
        "parked": batch.parked,
        "unparked": batch.unparked,
        "snapshots": batch.snapshots,
    }
    if batch.starts:
        rows |= rows_of_starts(batch)
    else:
        assert len(rows["continued"]) == len(batch.appends), "the first append of a run comes with its start"
    return {kind: sorted(found, key=SORT_KEYS.get(kind, BY_RUN)) for kind, found in rows.items() if found}


def rows_of_starts(batch: CommitBatch) -> dict[str, Sequence[Row]]:
    """Claims, first appends and visibility rows of the runs that begin."""
    appends = {append.run_id: append for append in batch.appends}
    changes = {change.run_id: change for change in batch.changes}
    claims, claim_of = claims_of(batch.starts, appends)
    firsts = [append for append in batch.appends if not append.previous_first_event_id]
    assert {start.run_id for start in batch.starts} == {first.run_id for first in firsts}, "a start has its append"
    begun = [begin(first, claim_of) for first in firsts]
    return {
        "free": [claim for claim in claims if not claim.old_run_id],
        "replaced": [claim for claim in claims if claim.old_run_id],
        "begun": begun,
        "begun_first": begun if any(each.first > 1 for each in begun) else [],
        "visible": [show(start, appends[start.run_id], changes.pop(start.run_id, None)) for start in batch.starts],
        "changed": list(changes.values()),
    }


def claims_of(starts: Iterable[RunStart], appends: Mapping[str, Append]) -> tuple[list[Claim], dict[str, str]]:
    """One claim for each chain of starts, and for each run the claim on which it depends."""
    starting = {start.run_id: start for start in starts}
    successors = {start.replaces: start for start in starting.values() if start.replaces in starting}
    claims: list[Claim] = []
    claim_of: dict[str, str] = {}
    for first in starting.values():
        if first.replaces in starting:
            continue
        chain = [first]
        while (successor := successors.get(chain[-1].run_id)) is not None:
            chain.append(successor)
        last = chain[-1].run_id
        claim_of |= {start.run_id: last for start in chain}
        gated = first.replaces in appends
        claims.append(Claim(first.shard_id, first.namespace_id, first.workflow_id, last, first.replaces, gated))
    return claims, claim_of


def begin(first: Append, claim_of: Mapping[str, str]) -> Begun:
    """The first append with its claim; a second successor of one run has none, and is refused.

    It begins with event 1, or where a copy ends that was written before.
    """
    claim = claim_of.get(first.run_id, first.run_id)
    return Begun(first.shard_id, first.run_id, claim, first.first_event_id, first.last_event_id, first.events)


def show(start: RunStart, append: Append, change: RunChange | None) -> Visible:
    """The visibility row of a run that begins."""
    if change is None:
        return Visible(start, RUNNING, None, append.last_event_id, None, start.memo, start.search_attributes)
    return Visible(
        start,
        change.status,
        change.close_time,
        change.history_length,
        change.new_run_id or None,
        start.memo if change.memo is None else change.memo,
        start.search_attributes if change.search_attributes is None else change.search_attributes,
    )


def parameters(fence: Fence, batch: CommitBatch, rows: Mapping[str, Sequence[Row]]) -> dict[str, object]:
    """What to bind, by name."""
    gated = {append.run_id for append in batch.appends}
    bound: dict[str, object] = {"group_id": fence.group_id, "server": fence.server, "epoch": fence.epoch}
    for kind, found in rows.items():
        for name, column in COLUMNS[kind].items():
            bound[f"{kind}_{name}"] = [column(row) for row in found]
        if kind in GATED:
            bound[f"{kind}_gated"] = [row.run_id in gated for row in found]
    return bound
