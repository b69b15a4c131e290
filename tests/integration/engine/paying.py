"""A transactional activity in the hands of a test: what its worker asks the service, and its user's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg

from perdure_proto import commands as c
from perdure_proto import tasks
from perdure_proto.options import RetryPolicy
from perdure_worker.transaction import RECORD
from tests.engine import OneServer, Worker

SECOND = timedelta(seconds=1)
QUICK = RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=9)
ONCE = RetryPolicy(maximum_attempts=1)


def pay(**options: Any) -> c.ScheduleActivityTask:
    """One attempt, unless the test says otherwise."""
    return c.ScheduleActivityTask(**{"activity_id": "1", "activity_type": "Pay", "retry_policy": ONCE, **options})


class UsersTransaction:
    """One row of the user and the outcome, step by step."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], place: tasks.OutcomePlace) -> None:
        self._connection = connection
        self._place = place
        self._transaction = connection.transaction()

    async def begin(self) -> None:
        await self._transaction.start()
        await self._connection.execute("insert into payments values ($1)", self._place.attempt)

    async def record(self, result: str = '"paid"') -> str:
        place = self._place
        where = place.group_id, place.shard_id, place.run_id, place.scheduled_event_id, place.attempt, place.started_at
        verdict: str = await self._connection.fetchval(RECORD, *where, "worker-1", result, "")
        return verdict

    async def commit(self) -> None:
        await self._transaction.commit()

    async def roll_back(self) -> None:
        await self._transaction.rollback()

    async def pay(self) -> str:
        """All of it; what may not commit is rolled back."""
        await self.begin()
        verdict = await self.record()
        await (self.commit() if verdict == "recorded" else self.roll_back())
        return verdict


class Payments:
    """The user's side of the database."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._open: list[asyncpg.Connection[asyncpg.Record]] = []

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        connection = await asyncpg.connect(self._database_url)
        self._open.append(connection)
        return connection

    async def transaction(self, place: tasks.OutcomePlace | None) -> UsersTransaction:
        """One that the service has allowed."""
        assert place is not None, "the service has refused it"
        return UsersTransaction(await self.connect(), place)

    async def attempts(self) -> list[int]:
        """Whose rows are there."""
        rows = await self._open[0].fetch("select attempt from payments order by 1")
        return [row["attempt"] for row in rows]

    async def close(self) -> None:
        for connection in self._open:
            connection.terminate()


@asynccontextmanager
async def payments_in(database_url: str) -> AsyncIterator[Payments]:
    payments = Payments(database_url)
    try:
        await (await payments.connect()).execute("create table payments (attempt int not null)")
        yield payments
    finally:
        await payments.close()


async def allowed(worker: Worker, task: tasks.ActivityTask) -> tasks.CompletionResult:
    """What the service answers to an attempt that is about to begin its transaction."""
    return (await worker.respond(tasks.ActivityTransaction(token=task.token)))[0]


async def begun(
    server: OneServer, worker: Worker, start: dict[str, Any] | None = None, **options: Any
) -> tuple[tasks.ActivityTask, tasks.OutcomePlace]:
    """A workflow whose one activity runs, and may begin its transaction."""
    await server.start(**(start or {}))
    await worker.turn(pay(**options))
    task = await worker.activity_task()
    place = (await allowed(worker, task)).place
    assert place is not None
    return task, place


async def closings(server: OneServer) -> list[str]:
    """How the activity and its run were closed, according to the log."""
    types = await server.event_types()
    ends = ("Completed", "Failed", "TimedOut", "Canceled", "Terminated", "ContinuedAsNew")
    return [each for each in types if each.endswith(ends) and not each.startswith("WorkflowTask")]
