"""Every log event of the worker, declared once, with the keys it carries.

Events are past participles or states; values travel as keys, never inside the text. How they are written (format,
level, destination) is decided by the program that runs the worker.
"""

from __future__ import annotations

from typing import Final

import structlog

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("perdure.worker")
"""The worker's logger."""

WORKER_STARTED: Final = "worker_started"
"""`task_queue`, `identity`, `build_id`, `workflows`, `activities`."""
WORKER_STOPPING: Final = "worker_stopping"
"""`task_queue`, `running`: activity attempts that may still finish."""
WORKER_STOPPED: Final = "worker_stopped"
"""`task_queue`."""
WORKER_FAILED: Final = "worker_failed"
"""`task_queue`, `error`: the service refused the worker for a reason that repeating does not mend."""
LEAVE_FAILED: Final = "leave_failed"
"""`task_queue` or `address`, `error`: the service will find out by itself."""

LINK_ENDED: Final = "link_ended"
"""`address`: the server has left the cluster; what it had not answered goes to another."""
LINK_REFUSED: Final = "link_refused"
"""`address`, `error`: one server of several refused the worker; it is asked again later."""
SERVER_OUT_OF_REACH: Final = "server_out_of_reach"
"""`address`: a member cannot be reached from here at the address it tells, so its tasks do not come here."""

REQUEST_REPEATED: Final = "request_repeated"
"""`path`, `sequence`, `attempt`, `error`."""
SERVICE_REACHED_AGAIN: Final = "service_reached_again"
"""`path`, `attempts`."""
SESSION_UNKNOWN: Final = "session_unknown"
"""`session`, `held`: the service does not know the session (it restarted); the worker introduces itself again."""
BATCH_REFUSED: Final = "batch_refused"
"""`error`, `completions`: a whole batch was refused; it is sent again in halves."""
COMPLETION_REFUSED: Final = "completion_refused"
"""`token`, `kind`, `code`, `error`: what replaces it is sent instead, or it is dropped."""

TASK_RETURNED: Final = "task_returned"
"""`kind`, `workflow_id`, `reason`."""
WORKFLOW_TASK_FAILED: Final = "workflow_task_failed"
"""`workflow_id`, `run_id`, `workflow_type`, `attempt`, `cause`, `error`."""
WORKFLOW_TASK_REFUSED: Final = "workflow_task_refused"
"""`run_id`, `code`, `error`: the run leaves the cache."""
EAGER_TURN_FAILED: Final = "eager_turn_failed"
HISTORY_FETCHED: Final = "history_fetched"
"""`workflow_id`, `run_id`, `events`: the run was not cached."""
RUN_EVICTED: Final = "run_evicted"
"""`run_id`, `reason`."""

ACTIVITY_FAILED: Final = "activity_failed"
"""`activity_type`, `activity_id`, `attempt`, `workflow_id`, `run_id`, `error`."""
TRANSACTION_UNDONE: Final = "transaction_undone"
"""`activity_type`, `activity_id`, `workflow_id`, `reason`: `settled` (another attempt was first), `sealed` (the service
has closed the activity) or `unknown` (the run is gone)."""
ACTIVITY_STALE: Final = "activity_stale"
"""`activity_type`, `activity_id`, `workflow_id`, `code`: it ended after the service had closed the attempt."""
ACTIVITY_ABANDONED: Final = "activity_abandoned"
"""`activity_type`, `activity_id`: a thread that does not end although it was cancelled."""

HASH_SEED_NOT_FIXED: Final = "hash_seed_not_fixed"
"""`advice`: sets of strings iterate in another order in each process."""
PROCESS_STARTED: Final = "process_started"
"""`number`, `pid`."""
PROCESS_ENDED: Final = "process_ended"
"""`number`, `pid`, `status`."""
PARENT_GONE: Final = "parent_gone"
"""`parent`: the process that started this one is gone, so this one stops."""
