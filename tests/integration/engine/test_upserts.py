"""Memo and search attributes that a workflow changes: the visibility row changes in the same transaction."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure_proto import commands as c
from perdure_proto.errors import Code, ServiceError
from perdure_server.history import requests as req
from tests.engine import NAMESPACE, Cluster, OneServer, Worker, is_waiting

TIMER = c.StartTimer(timer_id="1", start_to_fire_timeout=timedelta(hours=1))
SHOWN = "select memo::text, search_attributes::text, status from executions order by start_time, run_id"


def attributes(**upserted: Any) -> c.UpsertWorkflowSearchAttributes:
    return c.UpsertWorkflowSearchAttributes(search_attributes=upserted)


def memo(**upserted: Any) -> c.ModifyWorkflowProperties:
    return c.ModifyWorkflowProperties(upserted_memo=upserted)


async def test_the_row_changes_with_the_log(server: OneServer, worker: Worker, cluster: Cluster) -> None:
    """One commit holds the event and the row; keys that are None are gone."""
    await server.start(memo={"note": 1}, search_attributes={"city": "Graz", "paid": False})
    await worker.turn(attributes(city=None, paid=True), memo(by="Ada"))
    assert [('{"note":1,"by":"Ada"}', '{"paid": true}', 1)] == await cluster.rows(SHOWN)
    (batch,) = [batch for batch in server.store.batches if batch.changes]
    assert 1 == len(batch.appends)


async def test_a_close_in_the_same_answer_keeps_them(server: OneServer, worker: Worker, cluster: Cluster) -> None:
    """What was changed on the way out is shown of the closed run."""
    await server.start()
    await worker.turn(memo(by="Ada"), attributes(paid=True), c.CompleteWorkflowExecution())
    assert [('{"by":"Ada"}', '{"paid": true}', 2)] == await cluster.rows(SHOWN)


async def test_a_close_in_the_same_commit_keeps_them(server: OneServer, worker: Worker, cluster: Cluster) -> None:
    """Two transitions of one batch are one change of the row."""
    await server.start()
    task = await worker.workflow_task()
    server.store.gate.clear()
    other = asyncio.ensure_future(server.start("other"))
    assert await is_waiting(other)
    answering = asyncio.ensure_future(worker.answer(task, memo(by="Ada")))
    assert await is_waiting(answering)
    server.engine.transact(server.run(), req.TerminateExecution())
    server.store.gate.set()
    await asyncio.gather(other, answering)
    assert [('{"by":"Ada"}', 5), (None, 1)] == [(row[0], row[2]) for row in await cluster.rows(SHOWN)]


async def test_describe_and_list_show_them(server: OneServer, worker: Worker) -> None:
    """From memory and from the row alike."""
    await server.start(search_attributes={"city": "Graz"})
    await worker.turn(attributes(paid=True), memo(by="Ada"))
    described = (await server.describe()).execution
    (listed,) = (await server.api.list_workflows(NAMESPACE, "", 10, "")).executions
    expected = ({"city": "Graz", "paid": True}, {"by": "Ada"})
    assert expected == (described.search_attributes, described.memo)
    assert expected == (listed.search_attributes, listed.memo)


async def test_they_are_known_after_a_restart(server: OneServer, worker: Worker, cluster: Cluster) -> None:
    """From the log, and from a snapshot."""
    await server.start()
    await worker.turn(attributes(paid=True), TIMER)
    server = await cluster.restart(server)
    assert {"paid": True} == (await server.describe()).execution.search_attributes


async def test_the_next_run_has_them(server: OneServer, worker: Worker, cluster: Cluster) -> None:
    """Continue-as-new carries what is there, unless it says otherwise."""
    await server.start(memo={"note": 1})
    await worker.turn(memo(by="Ada"), attributes(paid=True), c.ContinueAsNewWorkflowExecution())
    await worker.turn(c.ContinueAsNewWorkflowExecution(memo={"only": 1}))
    rows = [row[:2] for row in await cluster.rows(SHOWN)]
    assert [('{"note":1,"by":"Ada"}', '{"paid": true}')] * 2 + [('{"only":1}', '{"paid": true}')] == rows


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        ({"search_attributes": {"a": {"b": 1}}}, Code.INVALID_ARGUMENT, "lists of strings"),
        ({"search_attributes": {"a": "x" * 3000}}, Code.INVALID_ARGUMENT, "2048"),
        ({"search_attributes": {str(n): n for n in range(101)}}, Code.INVALID_ARGUMENT, "the limit is 100"),
        ({"search_attributes": {"a": "\0"}}, Code.INVALID_ARGUMENT, "cannot be kept"),
        ({"memo": {"a": "\0"}}, Code.INVALID_ARGUMENT, "NUL"),
        ({"memo": {"a": "x" * 2**21}}, Code.PAYLOAD_TOO_LARGE, "the memo"),
    ],
)
async def test_a_start_that_is_too_much_is_refused(
    server: OneServer, options: dict[str, Any], code: Code, reason: str
) -> None:
    """The same limits hold at the start."""
    with pytest.raises(ServiceError, match=reason) as refused:
        await server.start(**options)
    assert code == refused.value.code
