"""Rows of Postgres as the Structs of the port. Run ids are UUIDs there and strings here; an empty string is null."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from perdure_server.store.port import (
    ActivityKey,
    ActivityRow,
    BufferedEvent,
    ExecutionRow,
    HistoryRow,
    NamespaceRow,
    OutcomeRow,
    Parked,
    RunKey,
    Snapshot,
    StoredRun,
    WakeRow,
)

Record = asyncpg.Record | Mapping[str, Any]


def read_execution(record: Record) -> ExecutionRow:
    attributes: str | None = record["search_attributes"]
    new_run_id: UUID | None = record["new_run_id"]
    return ExecutionRow(
        shard_id=record["shard_id"],
        run_id=str(record["run_id"]),
        namespace_id=record["namespace_id"],
        workflow_id=record["workflow_id"],
        workflow_type=record["workflow_type"],
        task_queue=record["task_queue"],
        status=record["status"],
        start_time=record["start_time"],
        close_time=record["close_time"],
        history_length=record["history_length"],
        request_id=record["request_id"],
        first_run_id=str(record["first_run_id"]),
        new_run_id="" if new_run_id is None else str(new_run_id),
        memo=record["memo"],
        search_attributes=None if attributes is None else attributes.encode(),
    )


def read_wake(record: Record) -> WakeRow:
    return WakeRow(record["shard_id"], str(record["run_id"]), record["wake_at"], record["owed"])


def read_history(record: Record) -> HistoryRow:
    return HistoryRow(record["first_event_id"], record["last_event_id"], record["events"])


def read_parked(record: Record) -> Parked:
    return Parked(
        record["shard_id"],
        str(record["run_id"]),
        record["scheduled_event_id"],
        record["namespace_id"],
        record["task_queue"],
        record["kind"],
        record["priority"],
        record["fairness_key"],
        record["turn"],
    )


def read_outcome(record: Record) -> OutcomeRow:
    return OutcomeRow(
        ActivityKey(record["shard_id"], str(record["run_id"]), record["scheduled_event_id"]),
        seal="" if record["seal"] is None else str(record["seal"]),
        attempt=record["attempt"],
        started_at=record["started_at"],
        identity=record["identity"],
        result=record["result"],
        encoding=record["encoding"],
    )


def read_namespace(record: Record) -> NamespaceRow:
    return NamespaceRow(
        record["namespace_id"],
        record["name"],
        record["description"],
        record["retention"],
        record["created_at"],
        record["rps_max"],
    )


def read_run(record: Record, snapshot_version: int) -> StoredRun:
    """A run with everything beside it, from the one row of `load_runs`."""
    shard_id, run_id = record["shard_id"], str(record["run_id"])
    wake_at: datetime | None = record["wake_at"]
    return StoredRun(
        key=RunKey(shard_id, run_id),
        namespace_id=record["namespace_id"],
        workflow_id=record["workflow_id"],
        status=record["status"],
        snapshot=None
        if record["snapshot_event_id"] is None
        else Snapshot(shard_id, run_id, record["snapshot_event_id"], snapshot_version, record["state"]),
        rows=[HistoryRow(*row) for row in record["rows"]],
        activities=[ActivityRow(shard_id, run_id, *row) for row in record["activities"]],
        buffered=[BufferedEvent(shard_id, run_id, *row) for row in record["buffered"]],
        parked=record["parked"],
        wake=WakeRow(shard_id, run_id, wake_at, record["owed"]) if record["has_wake"] else None,
        last_row_first_event_id=record["newest_first_event_id"],
    )
