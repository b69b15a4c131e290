"""The invariants of a whole database, read through SQL: what every integration test may ask for at its end."""

from __future__ import annotations

import asyncpg

from perdure_proto.codec import decode_events, join_arrays
from perdure_proto.events import CLOSING_EVENTS, AnyEvent
from perdure_server.history.invariants import violations
from perdure_server.store.port import STATUS_NUMBERS

OPEN = STATUS_NUMBERS["RUNNING"], STATUS_NUMBERS["PAUSED"]

LAWS = {
    "rows of the log leave neither gap nor overlap": """
        select run_id::text from (
            select run_id, first_event_id, lag(last_event_id, 1, 0) over (partition by run_id order by first_event_id)
                as before from history) as h
        where first_event_id <> before + 1""",
    "at most one open run for each workflow id": f"""
        select namespace_id || '/' || workflow_id from executions where status in {OPEN}
        group by namespace_id, workflow_id having count(*) > 1""",
    "an open run is the current one": f"""
        select e.run_id::text from executions e left join current_executions c using (group_id, shard_id, run_id)
        where e.status in {OPEN} and c.run_id is null""",
    "a current run exists": """
        select c.run_id::text from current_executions c left join executions e using (group_id, shard_id, run_id)
        where e.run_id is null""",
    "a closed run leaves no row beside the log, but for what it owes": f"""
        select run_id::text from executions e where status not in {OPEN} and (
            exists (select from activities a where a.run_id = e.run_id)
            or exists (select from buffered_events b where b.run_id = e.run_id)
            or exists (select from wakes w where w.run_id = e.run_id and not w.owed))""",
}

OWED = "select run_id::text from wakes where owed"


async def read_histories(database_url: str) -> dict[str, list[AnyEvent]]:
    """Every history of a database by run id."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "select run_id::text, array_agg(events::text order by first_event_id) as parts from history group by run_id"
        )
    finally:
        await connection.close()
    return {row["run_id"]: decode_events(join_arrays([part.encode() for part in row["parts"]])) for row in rows}


async def check_database(database_url: str, *, idle: bool = False) -> None:
    """Fails with all that is wrong. `idle`: the cluster had time to come to rest, so nothing may be owed."""
    wrong: list[str] = []
    connection = await asyncpg.connect(database_url)
    try:
        for law, query in {**LAWS, **({"nothing is owed when idle": OWED} if idle else {})}.items():
            wrong.extend(f"{law}: {row[0]}" for row in await connection.fetch(query))
        rows = await connection.fetch("select run_id::text, status from executions")
        statuses: dict[str, int] = {row[0]: row[1] for row in rows}
    finally:
        await connection.close()
    for run_id, history in (await read_histories(database_url)).items():
        wrong.extend(f"{run_id}: {each.law}: event {each.event_id}: {each.message}" for each in violations(history))
        if isinstance(history[-1], CLOSING_EVENTS) != (statuses[run_id] not in OPEN):
            wrong.append(f"{run_id}: the visibility row says {statuses[run_id]}, the log {history[-1].event_type}")
    assert [] == wrong
