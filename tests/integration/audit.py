"""What must hold of a whole database when all is over: every history by the invariants, every row in its order, and
each run replays on the workflows that made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import asyncpg

from perdure.workflow import Workflow
from perdure_proto import events as ev
from perdure_proto.codec import decode_events
from perdure_proto.events import AnyEvent
from perdure_worker.replayer import Replayer

CLOSING = (
    ev.WorkflowExecutionCompleted,
    ev.WorkflowExecutionFailed,
    ev.WorkflowExecutionTimedOut,
    ev.WorkflowExecutionCanceled,
    ev.WorkflowExecutionTerminated,
    ev.WorkflowExecutionContinuedAsNew,
)
ACTIVITY_ENDS = (
    ev.ActivityTaskCompleted,
    ev.ActivityTaskFailed,
    ev.ActivityTaskTimedOut,
    ev.ActivityTaskCanceled,
)

History = list[AnyEvent]


async def read_histories(database_url: str) -> list[History]:
    """Every run's events, straight from the log."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("select run_id, events from history order by run_id, first_event_id")
        doubles = await connection.fetch(
            "select workflow_id from executions where status = 1 group by namespace_id, workflow_id having count(*) > 1"
        )
    finally:
        await connection.close()
    assert [] == [row["workflow_id"] for row in doubles], "two open runs of one workflow id"
    histories: dict[object, History] = {}
    for row in rows:
        histories.setdefault(row["run_id"], []).extend(decode_events(row["events"]))
    return list(histories.values())


def check_history(events: History) -> None:
    """The invariants that one history shows."""
    assert list(range(1, len(events) + 1)) == [event.event_id for event in events]
    times = [event.event_time for event in events]
    assert sorted(times) == times
    closing = [event.event_id for event in events if isinstance(event, CLOSING)]
    assert closing in ([], [len(events)])
    check_ends(events)
    signals = [event.request_id for event in events if isinstance(event, ev.WorkflowExecutionSignaled)]
    assert [] == [one for one, times in Counter(signals).items() if one and times > 1]


def check_ends(events: History) -> None:
    """An activity or timer ends at most once, after it began; a timer never fires early."""
    activities = {event.event_id for event in events if isinstance(event, ev.ActivityTaskScheduled)}
    ended = [event.scheduled_event_id for event in events if isinstance(event, ACTIVITY_ENDS)]
    assert len(ended) == len(set(ended)), "an activity closed twice"
    assert activities >= set(ended)
    started = {event.event_id: event for event in events if isinstance(event, ev.TimerStarted)}
    over = [event for event in events if isinstance(event, ev.TimerFired | ev.TimerCanceled)]
    assert len(over) == len({event.started_event_id for event in over}), "a timer ended twice"
    for event in over:
        timer = started[event.started_event_id]
        if isinstance(event, ev.TimerFired):
            assert timer.event_time + timer.start_to_fire_timeout <= event.event_time, "a timer fired early"


async def audit(database_url: str, workflows: Sequence[Workflow[..., object]]) -> int:
    """Check every history of a database, and give how many there are."""
    histories = await read_histories(database_url)
    replayer = Replayer(workflows)
    known = {one.name for one in workflows}
    for events in histories:
        check_history(events)
        first = events[0]
        assert isinstance(first, ev.WorkflowExecutionStarted)
        if first.workflow_type in known:
            replayer.replay(events)
    return len(histories)
