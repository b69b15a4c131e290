"""Facts that change state but are no events: attempts of activities (rows beside the log) and what only memory knows.

`evolve` applies them as it applies events; nothing else does.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Raw, Struct

from perdure_proto.events import AnyEvent
from perdure_proto.failures import Failure
from perdure_proto.payload import NULL
from perdure_proto.tasks import UpdateDelivery
from perdure_server.history.state import ActivityState, StartedTask


class Record(Struct, frozen=True, kw_only=True):
    """A fact beside the log."""


class AttemptStarted(Record, frozen=True, kw_only=True):
    """A worker has an attempt of an activity."""

    scheduled_event_id: int
    started_at: datetime
    identity: str = ""
    session: str = ""


class AttemptDetached(Record, frozen=True, kw_only=True):
    """The worker has let go of the attempt, which goes on elsewhere."""

    scheduled_event_id: int


class AttemptReturned(Record, frozen=True, kw_only=True):
    """The attempt was handed back, or never arrived: it is due again and not counted."""

    scheduled_event_id: int


class AttemptFailed(Record, frozen=True, kw_only=True):
    """The attempt failed and the next one is planned."""

    scheduled_event_id: int
    failure: Failure
    next_attempt_at: datetime


class AttemptDue(Record, frozen=True, kw_only=True):
    """The backoff of an activity is over."""

    scheduled_event_id: int


class ActivityControlled(Record, frozen=True, kw_only=True):
    """Somebody paused the activity, let it go on, reset it or changed its options: this is what it is now."""

    scheduled_event_id: int
    to: ActivityState


class AttemptHeartbeat(Record, frozen=True, kw_only=True):
    """The attempt said that it goes on."""

    scheduled_event_id: int
    at: datetime
    details: Raw = NULL
    encoding: str = ""


class TransactionBegun(Record, frozen=True, kw_only=True):
    """An attempt may commit the activity's completion by itself, from now on at any moment."""

    scheduled_event_id: int


class RowWritten(Record, frozen=True, kw_only=True):
    """The attempt has a row beside the log."""

    scheduled_event_id: int


class TaskStarted(Record, frozen=True, kw_only=True):
    """*Memory.* A worker has the workflow task."""

    task: StartedTask


class TaskReturned(Record, frozen=True, kw_only=True):
    """*Memory.* The workflow task is due again: its worker is gone or gave it back."""


class TaskFailedAgain(Record, frozen=True, kw_only=True):
    """*Memory.* A repeat of a workflow task failed: nothing is written, the next attempt waits."""

    not_before: datetime
    cause: str
    failure: Failure | None = None


class TaskDue(Record, frozen=True, kw_only=True):
    """*Memory.* The backoff of the workflow task is over."""


class TaskSpeculated(Record, frozen=True, kw_only=True):
    """*Memory.* A workflow task for updates alone is due; it is written only if it brings something."""

    at: datetime


class SpeculationDropped(Record, frozen=True, kw_only=True):
    """*Memory.* All the updates of a speculative task were rejected: it leaves no trace."""


class UpdateAdmitted(Record, frozen=True, kw_only=True):
    """*Memory.* An update waits for the workflow."""

    delivery: UpdateDelivery
    identity: str = ""


class UpdateDropped(Record, frozen=True, kw_only=True):
    """*Memory.* An update was rejected, or moved to the next run."""

    update_id: str


class EventBuffered(Record, frozen=True, kw_only=True):
    """An event waits for the end of the started workflow task."""

    event: AnyEvent


class BufferFlushed(Record, frozen=True, kw_only=True):
    """What waited is in the log now."""


class CloseRefused(Record, frozen=True, kw_only=True):
    """*Memory.* A closing command met news."""


AnyRecord = (
    AttemptStarted
    | AttemptDetached
    | AttemptReturned
    | AttemptFailed
    | AttemptDue
    | ActivityControlled
    | AttemptHeartbeat
    | TransactionBegun
    | RowWritten
    | TaskStarted
    | TaskReturned
    | TaskFailedAgain
    | TaskDue
    | TaskSpeculated
    | SpeculationDropped
    | UpdateAdmitted
    | UpdateDropped
    | EventBuffered
    | BufferFlushed
    | CloseRefused
)
