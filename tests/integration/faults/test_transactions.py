"""kill -9 of worker, server and Postgres between every two steps of a transactional activity: its row is there once,
its completion is in the log once, and both are of the same attempt.
"""

from __future__ import annotations

import signal
from pathlib import Path

import asyncpg
import pytest

from perdure import Client
from perdure.exceptions import WorkflowFailureError
from perdure.workflow import Workflow
from perdure_proto import events as ev
from tests.integration.audit import audit
from tests.postgres import execute
from tests.processes import Machine, Process, ServerProcess
from tests.programs.paying import CONTROL, REACHED, STEPS, paying, paying_once, paying_soon

pytestmark = pytest.mark.timeout(180)

QUICK = {"PERDURE_ENGINE_WORKER_LOST_AFTER": "1s"}
TABLE = "create table payments (order_id text not null, attempt int not null)"


class Shop:
    """A server and a worker that pays, on a Postgres that can be killed."""

    def __init__(self, box: Machine, dsn: str) -> None:
        self._box = box
        self.dsn = dsn
        self.server: ServerProcess = box.server("server", dsn, **QUICK)
        self.worker = self.new_worker("worker")

    def new_worker(self, name: str) -> Process:
        told = {CONTROL: str(self._box.folder), "PERDURE_DATABASE_URL": self.dsn}
        return self._box.worker(name, "paying.py", self.server.address, **told)

    def at(self, step: str, what: str) -> None:
        """What happens to the worker that comes to a step first."""
        (self._box.folder / "step").write_text(f"{step}:{what}")

    async def rows(self, order: str) -> list[int]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return [row[0] for row in await connection.fetch("select attempt from payments where order_id = $1", order)]
        finally:
            await connection.close()


async def open_shop(box: Machine) -> Shop:
    shop = Shop(box, await box.start_postgres())
    await execute(shop.dsn, TABLE)
    await shop.server.restart()
    await shop.worker.start()
    return shop


async def paid_once(shop: Shop, client: Client, order: str, result: str) -> None:
    """The row and the completion are there once, and of the attempt that gave the result."""
    events = (await client.get_workflow_handle(order).fetch_history()).events
    completed = [event for event in events if isinstance(event, ev.ActivityTaskCompleted)]
    started = [event.attempt for event in events if isinstance(event, ev.ActivityTaskStarted)]
    assert [f'"{result}"'] == [bytes(event.result).decode() for event in completed]
    assert started == await shop.rows(order)
    assert result == f"attempt {started[0]}"


@pytest.mark.parametrize("victim", ["worker", "server", "postgres"])
async def test_a_kill_between_any_two_steps_pays_once(box: Machine, victim: str) -> None:
    """Whatever dies, and wherever: one row, one completion, one result."""
    shop = await open_shop(box)
    workflows: list[Workflow[..., object]] = [paying]
    async with await Client.connect(shop.server.address) as client:
        for number, step in enumerate(STEPS):
            order, heard = f"order-{number}", len(shop.worker.said)
            shop.at(step, "kill" if victim == "worker" else "stop")
            handle = await client.start_workflow(paying, order, id=order)
            await shop.worker.until_said(REACHED, after=heard, step=step)
            await (shop.worker.ended() if victim == "worker" else shop.worker.until_stopped())
            if victim == "worker":
                await shop.worker.start()
            elif victim == "server":
                await shop.server.kill()
                shop.worker.send(signal.SIGCONT)
                await shop.server.restart()
            else:
                await box.postgres.kill()
                shop.worker.send(signal.SIGCONT)
                await box.postgres.start()
            await paid_once(shop, client, order, await handle.result())
    assert len(STEPS) == await audit(shop.dsn, workflows)


@pytest.mark.parametrize(("step", "then"), [("has begun", "activity_failed"), ("returns", "transaction_undone")])
async def test_a_worker_that_stood_still_does_not_pay_again(box: Machine, step: str, then: str) -> None:
    """Its transaction is open when another worker has paid: it is cancelled, or finds that it cannot commit."""
    shop = await open_shop(box)
    shop.at(step, "stop")
    async with await Client.connect(shop.server.address) as client:
        handle = await client.start_workflow(paying_soon, "order", id="order")
        await shop.worker.until_said(REACHED)
        await shop.worker.until_stopped()
        other = shop.new_worker("other")
        await other.start()
        result = await handle.result()
        shop.worker.send(signal.SIGCONT)
        await shop.worker.until_said(then)
        await paid_once(shop, client, "order", result)


async def test_a_worker_that_stops_before_its_commit_is_not_waited_for_forever(box: Machine) -> None:
    """Postgres ends the transaction that has recorded and does not commit; then the timeout takes its course."""
    shop = await open_shop(box)
    shop.at("has recorded", "stop")
    async with await Client.connect(shop.server.address) as client:
        handle = await client.start_workflow(paying_once, "order", id="order")
        await shop.worker.until_said(REACHED)
        await shop.worker.until_stopped()
        other = shop.new_worker("other")
        await other.start()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        shop.worker.send(signal.SIGCONT)
        await shop.worker.until_said("activity_stale")
    assert [] == await shop.rows("order")
    assert [] == list(Path(box.folder).glob("step"))
