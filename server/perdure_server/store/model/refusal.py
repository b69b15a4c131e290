"""What Postgres would refuse in a batch: values that its types cannot hold. Such a batch writes nothing at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from perdure_server.store.port import CommitBatch, DataRefusedError, RunChange, RunStart

RUN_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INDEXED_BYTES_MAX: Final = 2_704
"""What one entry of an index may hold; Postgres compresses first, so it takes somewhat more of what repeats itself."""
ZERO: Final = b"\\u0000"
"""A zero as JSON spells it: `json` keeps it undecoded, `jsonb` cannot."""

_anything = msgspec.json.Decoder(msgspec.Raw)


def check_values(batch: CommitBatch) -> None:
    """Raises `DataRefusedError` for the first value that cannot be stored."""
    for value in _json(batch):
        if value is not None:
            _check_json(value)
    for start in batch.starts:
        _check_start(start)
    for attributes in _attributes(batch):
        if attributes is not None and ZERO in attributes:
            raise DataRefusedError("unsupported Unicode escape sequence: \\u0000 cannot be converted to text")


def _json(batch: CommitBatch) -> Iterator[bytes | None]:
    for append in batch.appends:
        yield append.events
    for event in batch.buffered:
        yield event.event
    for activity in batch.activities:
        yield activity.heartbeat_details
        yield activity.last_failure
        yield activity.control
    for row in _shown(batch):
        yield row.memo
        yield row.search_attributes


def _attributes(batch: CommitBatch) -> Iterable[bytes | None]:
    return [row.search_attributes for row in _shown(batch)]


def _shown(batch: CommitBatch) -> Iterator[RunStart | RunChange]:
    yield from batch.starts
    yield from batch.changes


def _check_json(value: bytes) -> None:
    try:
        value.decode()
        _anything.decode(value)
    except (UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise DataRefusedError(f"invalid input for type json: {error}") from error


def _check_start(start: RunStart) -> None:
    for run_id in (start.run_id, start.first_run_id, start.replaces):
        if run_id and not RUN_ID.fullmatch(run_id):
            raise DataRefusedError(f"invalid UUID {run_id!r}")
    for text in (start.workflow_id, start.workflow_type, start.task_queue, start.request_id):
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise DataRefusedError(str(error)) from error
        if "\0" in text or size > INDEXED_BYTES_MAX:
            raise DataRefusedError(f"a text holds a zero, or its {size} bytes exceed the maximum of an index")
