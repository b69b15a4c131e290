"""Rows that the tests of the store write: short ways to say a start, a later append, and a whole batch."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime

from perdure_proto.ids import uuid7
from perdure_server.store.port import Append, CommitBatch, RunStart

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHARD = 3
numbers = itertools.count(1)


def new_run_id() -> str:
    """A run id that no other test has."""
    number = next(numbers)
    return uuid7(1_700_000_000_000 + number, number.to_bytes(10, "big"))


def events(first: int, last: int) -> bytes:
    return json.dumps(
        [{"event_type": "TimerFired", "event_id": n, "event_time": NOW.isoformat()} for n in range(first, last + 1)]
    ).encode()


def append(run_id: str, previous: int, first: int, last: int) -> Append:
    return Append(SHARD, run_id, previous, first, last, events(first, last))


def start(run_id: str, workflow_id: str = "order-1", *, replaces: str = "", at: datetime = NOW) -> RunStart:
    return RunStart(
        shard_id=SHARD,
        run_id=run_id,
        namespace_id=1,
        workflow_id=workflow_id,
        replaces=replaces,
        workflow_type="Order",
        task_queue="orders",
        start_time=at,
        request_id=f"request-{run_id}",
        first_run_id=run_id,
    )


def begin(run_id: str, workflow_id: str = "order-1", *, replaces: str = "", at: datetime = NOW) -> CommitBatch:
    """A batch that starts one run with events 1 to 2."""
    return CommitBatch(appends=[append(run_id, 0, 1, 2)], starts=[start(run_id, workflow_id, replaces=replaces, at=at)])


def merge(*batches: CommitBatch) -> CommitBatch:
    """All rows of several batches."""
    merged = CommitBatch()
    for batch in batches:
        for field in CommitBatch.__struct_fields__:
            getattr(merged, field).extend(getattr(batch, field))
    return merged
