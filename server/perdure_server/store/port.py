"""The storage seam: what the engine and the committer ask of a store, and the rows that cross it.

Lock order, kept by every statement: fences, current_executions, history, executions, activities, buffered_events,
wakes, parked, snapshots, outcomes; within a table by primary key, ascending. Every write depends on the fence row;
rows of a run that has an append in the same batch depend on that append's acceptance too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct


class Fence(Struct, frozen=True):
    """Whose commits these are: the committer's row of `fences`, at its own epoch."""

    group_id: int
    server: str
    epoch: int


class Append(Struct):
    """Events of one run, merged to one row. `previous_first_event_id` names the predecessor row (0: the first)."""

    shard_id: int
    run_id: str
    previous_first_event_id: int
    first_event_id: int
    last_event_id: int
    events: bytes


class RunStart(Struct):
    """A run that begins: its claim of the workflow id and its visibility row.

    `replaces` is the run id that must be current (a closed one, or one that closes in this batch); empty: none may be.
    """

    shard_id: int
    run_id: str
    namespace_id: int
    workflow_id: str
    replaces: str
    workflow_type: str
    task_queue: str
    start_time: datetime
    request_id: str
    first_run_id: str
    memo: bytes | None = None
    search_attributes: bytes | None = None


class RunChange(Struct):
    """A visibility row that changes: status (a number, see `STATUS_NUMBERS`), close time, length.

    An empty `new_run_id`, no memo and no search attributes leave what is there.
    """

    shard_id: int
    run_id: str
    status: int
    close_time: datetime | None
    history_length: int
    new_run_id: str = ""
    search_attributes: bytes | None = None
    memo: bytes | None = None


class Wake(Struct):
    """When a run must be looked at next (None: never by time), and whether something is due now."""

    shard_id: int
    run_id: str
    wake_at: datetime | None
    owed: bool


class WakeRow(Struct):
    """A row of `wakes` as read."""

    shard_id: int
    run_id: str
    wake_at: datetime | None
    owed: bool


class RunKey(Struct, frozen=True, order=True):
    """A run as the store names it."""

    shard_id: int
    run_id: str


class ActivityRow(Struct):
    """A pending activity that has something to keep beside the log. `last_failure` and `heartbeat_details` are JSON."""

    shard_id: int
    run_id: str
    scheduled_event_id: int
    attempt: int
    attempt_scheduled_at: datetime
    started_at: datetime | None = None
    identity: str = ""
    session: str = ""
    next_attempt_at: datetime | None = None
    heartbeat_at: datetime | None = None
    heartbeat_details: bytes | None = None
    heartbeat_encoding: str = ""
    last_failure: bytes | None = None
    transactional: bool = False
    control: bytes | None = None
    """What was done to it from outside (JSON); None: nothing."""
    permit: str | None = None
    """The concurrency limit of which it holds a permit, while the attempt runs."""


class PermitRow(Struct, frozen=True):
    """A permit that is held, by the row of what holds it."""

    shard_id: int
    run_id: str
    scheduled_event_id: int
    permit: str


class ActivityKey(Struct, frozen=True, order=True):
    """An activity as the store names it."""

    shard_id: int
    run_id: str
    scheduled_event_id: int


class OutcomeRow(Struct, frozen=True):
    """How a transactional activity ended: an attempt's result (JSON), or a `seal` that keeps all attempts out."""

    key: ActivityKey
    seal: str
    attempt: int
    started_at: datetime | None
    identity: str
    result: bytes | None
    encoding: str


class BufferedEvent(Struct):
    """An event that waits beside the log while a workflow task is started; `position` keeps the order of arrival."""

    shard_id: int
    run_id: str
    position: int
    event: bytes


class Parked(Struct, frozen=True, order=True):
    """A task over `queue_window_max`: it waits in the database, not in memory."""

    shard_id: int
    run_id: str
    scheduled_event_id: int
    namespace_id: int
    task_queue: str
    kind: str
    priority: int
    fairness_key: str = ""
    turn: float = 0.0
    """Its place among the parked tasks of its queue and priority: the end of a turn of its fairness key."""


class ParkedTurn(Struct, frozen=True):
    """A fairness key among the parked tasks of a queue: the next turn of its priority, and its own last one."""

    priority: int
    fairness_key: str
    next: float
    last: float


class Snapshot(Struct):
    """Committed state up to an event, and the version of `evolve` that made it."""

    shard_id: int
    run_id: str
    last_event_id: int
    version: int
    state: bytes


class CommitBatch(Struct):
    """One statement's worth of rows, merged by key. The store sorts them by primary key.

    A run has at most one append, one start and one change; a start comes with its first append. What a batch removes
    are rows that were there before it: where it also puts a row of the same key, that row is there afterwards.
    """

    appends: list[Append] = []
    starts: list[RunStart] = []
    changes: list[RunChange] = []
    wakes: list[Wake] = []
    wakes_gone: list[RunKey] = []
    activities: list[ActivityRow] = []
    activities_gone: list[ActivityKey] = []
    activities_cleared: list[RunKey] = []
    """Runs all of whose activity rows go (the run closed)."""
    buffered: list[BufferedEvent] = []
    buffer_flushed: list[RunKey] = []
    """Runs all of whose buffered events go: they are in this batch's append."""
    parked: list[Parked] = []
    unparked: list[Parked] = []
    snapshots: list[Snapshot] = []


class CommitResult(Struct):
    """What a commit did. Nothing at all when `fence_held` is false."""

    fence_held: bool
    accepted: set[str]
    """Run ids whose append landed (a run that lost its start, or whose chain was broken, is absent)."""


class HistoryRow(Struct, frozen=True):
    """A row of the log."""

    first_event_id: int
    last_event_id: int
    events: bytes


class StoredRun(Struct):
    """All that is stored of a run's state: a snapshot if there is one of this version, later rows, rows beside."""

    key: RunKey
    namespace_id: int
    workflow_id: str
    status: int
    snapshot: Snapshot | None
    rows: list[HistoryRow]
    activities: list[ActivityRow]
    buffered: list[BufferedEvent]
    parked: list[int]
    """Scheduled event ids of tasks of this run that are parked."""
    wake: WakeRow | None
    last_row_first_event_id: int
    """`first_event_id` of the newest row: the predecessor of the next append."""


class ExecutionRow(Struct):
    """A visibility row."""

    shard_id: int
    run_id: str
    namespace_id: int
    workflow_id: str
    workflow_type: str
    task_queue: str
    status: int
    start_time: datetime
    close_time: datetime | None
    history_length: int
    request_id: str
    first_run_id: str
    new_run_id: str
    memo: bytes | None
    search_attributes: bytes | None


class SecretRow(Struct, frozen=True, kw_only=True):
    """One generation of a secret. `valid_until` is None for the newest, which signs."""

    generation: int
    secret: bytes
    valid_until: datetime | None


class NamespaceRow(Struct, frozen=True):
    """A namespace."""

    namespace_id: int
    name: str
    description: str
    retention: timedelta
    created_at: datetime
    rps_max: float = 0.0
    """So many requests of clients a second, by all servers together; 0: no limit."""


class NamespaceChange(Struct, frozen=True, kw_only=True):
    """What becomes of a namespace; None: as it was."""

    description: str | None = None
    retention: timedelta | None = None
    rps_max: float | None = None


class DataRefusedError(Exception):
    """Postgres refused a value of the batch: nothing of it is stored. The committer finds the guilty append."""


class StoreUnavailableError(Exception):
    """Postgres cannot be reached or will not work now; nothing was changed and the same call may be repeated."""


class CommitOutcomeUnknownError(Exception):
    """The connection died while a commit was in flight: it may have happened or not."""


class FenceLostError(Exception):
    """Somebody else raised this fence's epoch: nothing that was cached under it may be used any more."""


class Store(Protocol):
    """What the engine asks of storage. One commit at a time for a group; reads go beside it."""

    async def commit(self, fence: Fence, batch: CommitBatch) -> CommitResult:
        """The whole batch in one statement, or nothing. Raises the three errors above."""
        ...

    async def raise_epoch(self, fence: Fence) -> Fence:
        """The own fence, one epoch up, once every commit in flight has ended. Raises `FenceLostError`."""
        ...

    async def take_fence(self, server: str) -> Fence:
        """The same for a server that we are or that is dead, whatever its epoch; made if it was not there."""
        ...

    async def confirm_fence(self, fence: Fence) -> bool:
        """Whether nobody had raised the fence when this was asked: what was read before then was still true."""
        ...

    async def read_back(self, keys: Sequence[tuple[int, str, int, int]]) -> set[str]:
        """Run ids of those appends `(shard_id, run_id, first_event_id, last_event_id)` that are in the log."""
        ...

    async def load_run(self, shard_id: int, run_id: str, snapshot_version: int) -> StoredRun | None:
        """All that is stored of a run, in one round trip."""
        ...

    async def load_runs(self, keys: Sequence[RunKey], snapshot_version: int) -> list[StoredRun]:
        """The same for a page of runs, in a fixed number of statements."""
        ...

    async def current_run(self, namespace_id: int, shard_id: int, workflow_id: str) -> ExecutionRow | None:
        """The newest run of a workflow id (open or closed), from `current_executions`."""
        ...

    async def execution(self, shard_id: int, run_id: str) -> ExecutionRow | None:
        """The visibility row of a run."""
        ...

    async def execution_by_request(self, namespace_id: int, workflow_id: str, request_id: str) -> ExecutionRow | None:
        """The run that a start request of this id made, whatever happened since."""
        ...

    async def requests_taken(self, namespace_id: int, workflow_id: str, since: datetime, limit: int) -> dict[str, str]:
        """Of the runs of a workflow id that closed since: the messages in their logs, run by request id.

        The newest where there are more than the limit; of two runs that have the same the earlier.
        """
        ...

    async def history(self, shard_id: int, run_id: str, after_event_id: int, rows_max: int) -> list[HistoryRow]:
        """Rows of the log that hold events after an id, in order."""
        ...

    async def owed_runs(self, shard_ids: Sequence[int], after: RunKey | None, limit: int) -> list[WakeRow]:
        """A page of runs to which something is owed, by key."""
        ...

    async def due_runs(
        self,
        shard_ids: Sequence[int],
        between: tuple[datetime | None, datetime],
        after: WakeRow | None,
        limit: int,
    ) -> list[WakeRow]:
        """A page of runs of these shards with `since < wake_at <= until`, by time then key."""
        ...

    async def parked_tasks(self, queue: tuple[int, str, str], shard_ids: Sequence[int], limit: int) -> list[Parked]:
        """The first parked tasks of these shards in a queue (namespace id, name, kind): by priority, turn, then age."""
        ...

    async def parked_turns(self, queue: tuple[int, str, str], shard_ids: Sequence[int], limit: int) -> list[ParkedTurn]:
        """The fairness keys among such tasks; those first that have had the most turns ahead."""
        ...

    async def parked_queues(self, shard_ids: Sequence[int]) -> list[tuple[int, str, str, int]]:
        """`(namespace_id, task_queue, kind, count)` of all that is parked of these shards."""
        ...

    async def permits_held(self) -> list[PermitRow]:
        """All permits of concurrency limits that rows of the group hold, whoever owns their shards."""
        ...

    async def list_executions(
        self, namespace_id: int, query: str, cursor: str, limit: int
    ) -> tuple[list[ExecutionRow], str]:
        """A page of visibility rows, newest start first, and the next cursor. Raises `ServiceError` on a bad query."""
        ...

    async def count_executions(self, namespace_id: int, query: str) -> tuple[int, dict[str, int]]:
        """How many visibility rows fit; and by value, the most frequent first, if the query groups by something."""
        ...

    async def create_namespace(self, name: str, description: str, retention: timedelta) -> NamespaceRow | None:
        """A new namespace; None when the name is taken."""
        ...

    async def update_namespace(self, name: str, change: NamespaceChange) -> NamespaceRow | None:
        """The namespace as it is now; None when there is none of this name."""
        ...

    async def namespaces(self) -> list[NamespaceRow]:
        """All of them."""
        ...

    async def secrets(self, name: str) -> list[SecretRow]:
        """The generations of a secret of the cluster, the newest first; the first is drawn by a migration."""
        ...

    async def rotate_secret(self, name: str, old_until: datetime, kept_max: int) -> None:
        """Draws another generation; those before are valid until then at most, and only so many are kept."""
        ...

    async def seal_outcome(self, fence: Fence, key: ActivityKey, seal: str) -> OutcomeRow | None:
        """Keeps all attempts of an activity from committing, or tells which one has; None when the fence is lost.

        Waits for an attempt that is about to commit, and raises `StoreUnavailableError` when that takes too long.
        """
        ...

    async def unseal_outcome(self, fence: Fence, key: ActivityKey, seal: str) -> None:
        """Takes a seal away, if it is still this one."""
        ...

    async def outcomes(self, keys: Sequence[ActivityKey]) -> list[OutcomeRow]:
        """Those of these activities that have an outcome or a seal."""
        ...

    async def delete_expired(self, shard_ids: Sequence[int], limit: int) -> int:
        """Removes closed runs of these shards past their namespace's retention; returns how many."""
        ...

    async def begin_copy(self, shard_id: int, base_run_id: str, run_id: str) -> None:
        """Notes that a run is to begin as a copy; before the first row of it."""
        ...

    async def copy_history(
        self, shard_id: int, base_run_id: str, run_id: str, *, until_event_id: int, rows_max: int
    ) -> tuple[int, int]:
        """Copies all rows that end at an event or before, in pages: first and last event id of the last (0: none)."""
        ...

    async def put_history(self, shard_id: int, run_id: str, row: HistoryRow) -> None:
        """One more row of a copy: that of the last events, where they end within a row."""
        ...

    async def reset_run(self, shard_id: int, base_run_id: str) -> str:
        """The run that began last as a copy of this one; empty: none did."""
        ...

    async def delete_orphans(self, shard_ids: Sequence[int], limit: int) -> int:
        """Removes copies in these shards that nobody finished; returns how many."""
        ...


STATUS_NUMBERS: dict[str, int] = {
    "RUNNING": 1,
    "COMPLETED": 2,
    "FAILED": 3,
    "CANCELED": 4,
    "TERMINATED": 5,
    "CONTINUED_AS_NEW": 6,
    "TIMED_OUT": 7,
    "PAUSED": 8,
}
"""Temporal's numbers of the execution statuses."""

STATUS_NAMES = {number: name for name, number in STATUS_NUMBERS.items()}
