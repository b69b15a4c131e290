"""kill -9 of the server at each step of a reset, in the middle of the statement: what became of the statement, the
reset has happened whole or not at all, can be asked for again, and doubles nothing.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import aiohttp
import asyncpg
import msgspec
import pytest

from perdure import Client, WorkflowHandle
from perdure_proto import events as ev
from perdure_proto.service import ResetWorkflowAnswer
from perdure_server.store.port import STATUS_NUMBERS
from perdure_server.store.postgres import PostgresStore
from tests.integration.audit import audit
from tests.integration.faults.stopping import Stop, stop_at
from tests.processes import Machine, ServerProcess
from tests.programs import going_back as program

pytestmark = pytest.mark.timeout(180)

TERMINATED = STATUS_NUMBERS["TERMINATED"]
BEFORE = {
    "notes that it copies": "insert on resets",
    "copies whole rows": "insert on history when (new.first_event_id = 1)",
    "copies the row that it cuts": "insert on history when (new.last_event_id = {until})",
}
"""Steps after which nothing is to be seen yet; `until` is the last event of the copy."""
SWITCH = {
    "makes the id the new run's": "update on current_executions",
    "goes on in the new run": "insert on history when (new.first_event_id = {until} + 1)",
    "shows the new run": "insert on executions",
    "shows that the old run ended": f"update on executions when (new.status = {TERMINATED})",
}
"""Parts of the one statement in which it happens."""
AFTER = {
    "closes a child": f"update on executions when (new.status = {TERMINATED} and new.workflow_id like '%-late')",
    "has taken leave": "delete on wakes",
}
STEPS = {**BEFORE, **SWITCH, **AFTER}
ENDS = ["commits without it", "is undone", "goes on later"]
RUNS = """
    select e.run_id::text, e.status, c.run_id is not null as current
    from executions e left join current_executions c using (group_id, shard_id, run_id)
    where e.workflow_id = $1 order by e.start_time, e.run_id"""


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REQUEST = "the-reset"


class Order:
    """One workflow that is reset, and what the database says of it."""

    def __init__(self, dsn: str, address: str, handle: WorkflowHandle[list[str]]) -> None:
        self._dsn = dsn
        self._address = address
        self.handle = handle
        self.point = ev.WorkflowTaskCompleted(event_id=0, event_time=EPOCH, scheduled_event_id=0, started_event_id=0)
        """The task before it was told something."""

    async def advance(self) -> None:
        """Until the child from after the point runs."""
        self.point = await self._rested_with(1)
        await self.handle.signal("told", "something")
        await self._rested_with(2)

    async def _rested_with(self, children: int) -> ev.WorkflowTaskCompleted:
        async for event in self.handle.events(follow=True):
            children -= isinstance(event, ev.ChildWorkflowExecutionStarted)
            if children == 0 and isinstance(event, ev.WorkflowTaskCompleted):
                return event
        raise AssertionError("it ended before")

    async def reset(self) -> ResetWorkflowAnswer:
        """Asks for it once, by the same request id each time."""
        address = f"{self._address}/api/v1/namespaces/default/workflows/{self.handle.id}/reset"
        asked = {"event_id": self.point.event_id, "request_id": REQUEST}
        async with aiohttp.ClientSession() as session, session.post(address, json=asked) as answer:
            assert HTTPStatus.OK == answer.status, await answer.text()
            return msgspec.json.decode(await answer.read(), type=ResetWorkflowAnswer)

    async def runs(self, workflow_id: str = "") -> list[tuple[str, bool, bool]]:
        """Run id, whether it was terminated, and whether it is the current one; in order of their start."""
        connection = await asyncpg.connect(self._dsn)
        try:
            rows = await connection.fetch(RUNS, workflow_id or self.handle.id)
            return [(row["run_id"], row["status"] == TERMINATED, row["current"]) for row in rows]
        finally:
            await connection.close()

    async def is_reset(self) -> bool:
        """Whether it has happened; fails where it has happened by half."""
        shown = await self.runs()
        marks = [(is_terminated, is_current) for _, is_terminated, is_current in shown]
        assert marks in ([(False, True)], [(True, False), (False, True)])
        return len(shown) > 1

    async def finish(self, run_id: str) -> None:
        """It goes on in the new run alone, with what it was told, and one child of each id."""
        await self._rested_with(2)
        await self.handle.signal("told", "the end")
        assert ["one", "something", "the end"] == await self.handle.result()
        events = (await self.handle.fetch_history()).events
        assert run_id == (await self.handle.describe()).run_id
        assert 2 == sum(isinstance(event, ev.WorkflowExecutionSignaled) for event in events)
        assert [] == [event for event in events if isinstance(event, ev.StartChildWorkflowExecutionFailed)]
        assert [2, 1, 2] == [len(await self.runs(f"{self.handle.id}{each}")) for each in ("", "-kept", "-late")]


async def end(stop: Stop, how: str) -> None:
    """What becomes of the statement while no server runs."""
    if how == "commits without it":
        await stop.release()
    elif how == "is undone":
        await stop.undo()


async def fault(order: Order, server: ServerProcess, dsn: str, step: str, how: str) -> None:
    """Kills the server in a step of the reset, and asks for it again."""
    async with stop_at(dsn, STEPS[step].format(until=order.point.started_event_id)) as stop:
        asking = asyncio.create_task(order.reset())
        await stop.reached()
        await server.kill()
        await asyncio.gather(asking, return_exceptions=True)
        await end(stop, how)
        was_reset = await order.is_reset()
        assert was_reset == (step in AFTER or (step in SWITCH and how == "commits without it"))
        await server.restart()
        answer = await order.reset()
        assert was_reset != answer.reset
        await stop.release()
        assert await order.is_reset()
        assert ResetWorkflowAnswer(run_id=answer.run_id, reset=False) == await order.reset()
    await order.finish(answer.run_id)


@pytest.mark.parametrize("how", ENDS)
async def test_a_server_killed_in_a_reset_has_done_it_or_has_not(box: Machine, how: str) -> None:
    """The statement in which it dies commits, is undone, or goes on when another server has done the reset."""
    dsn = await box.start_postgres()
    server = box.server("server", dsn)
    await server.restart()
    worker = box.worker("worker", "going_back.py", server.address)
    await worker.start()
    async with await Client.connect(server.address) as client:
        for number, step in enumerate(STEPS):
            await client.start_workflow(program.goes_back, id=f"order-{number}")
            handle = client.get_workflow_handle(f"order-{number}", result_type=list[str])
            order = Order(dsn, server.address, handle)
            await order.advance()
            await fault(order, server, dsn, step, how)
    async with await PostgresStore.open(dsn) as store:
        await store.delete_orphans(range(512), 1000, timedelta(0))
    assert 5 * len(STEPS) == await audit(dsn, program.WORKFLOWS)
