"""What must hold of a database when all is over: the invariants, and that each run replays on the code that made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from perdure.workflow import Workflow
from perdure_proto import events as ev
from perdure_worker import Interceptor
from perdure_worker.replayer import Replayer
from tests.invariants import check_database, read_histories


async def audit(
    database_url: str, workflows: Sequence[Workflow[..., Any]], interceptors: Sequence[Interceptor] = ()
) -> int:
    """Check every history of a database, and give how many there are. Runs of other types are not replayed."""
    await check_database(database_url)
    histories = await read_histories(database_url)
    replayer = Replayer(workflows, interceptors=interceptors)
    known = {one.name for one in workflows}
    accepted: Counter[tuple[str, str]] = Counter()
    for events in histories.values():
        first = events[0]
        assert isinstance(first, ev.WorkflowExecutionStarted)
        if first.workflow_type in known:
            replayer.replay(events)
        updates = [event.update_id for event in events if isinstance(event, ev.WorkflowExecutionUpdateAccepted)]
        if any(isinstance(event, ev.WorkflowTaskFailed) and event.cause == "RESET_WORKFLOW" for event in events):
            continue  # it has the history of another run, and is told again what came to that later
        accepted.update((first.first_execution_run_id, update_id) for update_id in updates)
    assert [] == [one for one, times in accepted.items() if times > 1], "an update was accepted twice in its chain"
    return len(histories)
