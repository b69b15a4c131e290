"""How concurrency limits are called among the servers and in rows: namespace, what is limited, key."""

from __future__ import annotations

from perdure_proto.events import ActivityTaskScheduled
from perdure_server.engine.execution import Execution


def limit_of(execution: Execution, scheduled: ActivityTaskScheduled) -> str | None:
    """The name of the limit under which an activity runs, in its namespace; None where there is none."""
    if scheduled.concurrency_max is None:
        return None
    return f"{abs(execution.namespace_id)}/activity/{scheduled.concurrency_key or scheduled.activity_type}"
