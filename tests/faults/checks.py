"""What must hold when the faults are over: all that is owed happens within a bound, then the whole database is read."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from perdure import Client
from perdure_proto import events as ev
from perdure_proto.codec import encode_events
from tests.faults.box import Box
from tests.faults.journal import Journal
from tests.faults.postgres import while_away
from tests.integration.audit import audit
from tests.invariants import OPEN, OWED, read_histories
from tests.programs.under_faults import WORKFLOWS

REST_SECONDS_MAX = 60.0
LOOK_EVERY_SECONDS = 0.25
STILL_OPEN = f"select workflow_id || ' ' || run_id from executions where status in {OPEN}"
SHOWN_MAX = 10
ASKED_AGAIN_MAX = 300

Histories = Mapping[str, Sequence[ev.AnyEvent]]


async def until_at_rest(box: Box) -> list[str]:
    """Wait until no run is open and nothing is owed; what is left after the bound, in words."""
    left: list[str] = ["Postgres was never asked"]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REST_SECONDS_MAX):
            while left:
                with while_away():
                    async with box.postgres.session() as connection:
                        left = [f"open: {row[0]}" for row in await connection.fetch(STILL_OPEN)]
                        left += [f"owed: {row[0]}" for row in await connection.fetch(OWED)]
                if left:
                    await asyncio.sleep(LOOK_EVERY_SECONDS)
    return left


async def ask_again(client: Client, journal: Journal) -> None:
    """A result that a client was given never changes."""
    for workflow_id, before in list(journal.results.items())[:ASKED_AGAIN_MAX]:
        now = await client.get_workflow_handle(workflow_id).result()
        if now != before:
            journal.blame(f"the result of {workflow_id} was {before!r} and is now {now!r}")


async def check_everything(box: Box, journal: Journal) -> int:
    """Blame all that is wrong in the database; how many histories there are."""
    try:
        await audit(box.postgres.dsn, WORKFLOWS)
    except Exception as error:  # noqa: BLE001 - whatever is raised is the finding
        journal.blame(f"the database: {type(error).__name__}: {error}")
    histories = await read_histories(box.postgres.dsn)
    for wrong in (*_starts(histories, journal), *await _payments(box, histories)):
        journal.blame(wrong)
    return len(histories)


def _starts(histories: Histories, journal: Journal) -> list[str]:
    """Each start that was acknowledged is there, and has one chain of runs, however often it was asked for."""
    chains: dict[str, set[str]] = {}
    for events in histories.values():
        first = events[0]
        assert isinstance(first, ev.WorkflowExecutionStarted)
        chains.setdefault(first.workflow_id, set()).add(first.first_execution_run_id)
    wrong = [f"{name} was started {len(runs)} times" for name, runs in chains.items() if len(runs) > 1]
    known = {one.key for one in journal.operations if one.kind == "start" and one.outcome == "acknowledged"}
    return wrong + [f"the start of {name} was acknowledged and is gone" for name in sorted(known - chains.keys())]


async def _payments(box: Box, histories: Histories) -> list[str]:
    """A row of the user is there once for each activity that completed with it, and for no other."""
    completed: Counter[str] = Counter()
    for events in histories.values():
        first = events[0]
        assert isinstance(first, ev.WorkflowExecutionStarted)
        paying = {
            one.event_id for one in events if isinstance(one, ev.ActivityTaskScheduled) and one.activity_type == "pay"
        }
        done = [one for one in events if isinstance(one, ev.ActivityTaskCompleted) and one.scheduled_event_id in paying]
        completed[first.workflow_id] += len(done)
    async with box.postgres.session() as connection:
        rows = Counter(row[0] for row in await connection.fetch("select order_id from payments"))
    return [
        f"{name} has {rows[name]} payments, and {completed[name]} activities that paid"
        for name in sorted(rows.keys() | completed.keys())
        if not rows[name] == completed[name] <= 1
    ]


async def keep_histories(box: Box, folder: Path) -> None:
    """Write every history to a file, one a line, for whoever looks for the cause."""
    histories = await read_histories(box.postgres.dsn)
    with (folder / "histories.jsonl").open("wb") as file:
        for run_id, events in sorted(histories.items()):
            head = msgspec.json.encode(run_id)
            file.write(b'{"run_id": ' + head + b', "events": ' + encode_events(list(events)) + b"}\n")
