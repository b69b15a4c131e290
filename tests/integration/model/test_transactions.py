"""`activity.transaction()` as users write it: rows and completion commit together or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from perdure.exceptions import ActivityError, ApplicationError, WorkflowFailureError
from perdure_proto import events as ev
from tests.integration.model.stack import Stack, stack_of
from tests.postgres import execute
from tests.programs import model_transactions as program
from tests.programs import signs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        await execute(running.database_url, program.TABLE)
        yield running


async def payments(stack: Stack, order: str) -> list[int]:
    """The attempts whose rows are there."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        rows = await connection.fetch("select attempt from payments where order_id like $1 || '%'", order)
        return [row["attempt"] for row in rows]
    finally:
        await connection.close()


async def fails(stack: Stack, call: Any, *args: Any) -> ApplicationError:
    """The error that ends the activity of a workflow."""
    with pytest.raises(WorkflowFailureError) as caught:
        await stack.client.execute_workflow(call, *args, task_queue=stack.task_queue)
    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, ApplicationError)
    return caught.value.cause.cause


async def test_rows_and_completion_commit_together(stack: Stack) -> None:
    """The workflow gets the result, the row is there, and the outcome is that of the log."""
    order = stack.new_id()
    handle = await stack.client.start_workflow(program.pays, order, "charges", id=order, task_queue=stack.task_queue)
    assert f"{order} by attempt 1" == await handle.result()
    assert [1] == await payments(stack, order)
    completed = [e for e in (await handle.fetch_history()).events if isinstance(e, ev.ActivityTaskCompleted)]
    connection = await asyncpg.connect(stack.database_url)
    recorded = await connection.fetchval(
        "select result from outcomes join executions using (run_id) where workflow_id = $1", order
    )
    await connection.close()
    assert [recorded] == [bytes(event.result).decode() for event in completed]


async def test_an_activity_without_a_workflow_has_one_too(stack: Stack) -> None:
    """Started by a client, it commits with its row as well."""
    order = stack.new_id()
    assert f"{order} by attempt 1" == await stack.client.execute_activity(
        program.charges, order, task_queue=stack.task_queue
    )
    assert [1] == await payments(stack, order)


@pytest.mark.parametrize("inside", [True, False], ids=["in the block", "after it"])
async def test_what_raises_leaves_no_rows(stack: Stack, inside: bool) -> None:
    """The attempt that raised is undone, though it had left the block; the next one commits."""
    order = stack.new_id()
    result = await stack.client.execute_workflow(
        program.pays_after_a_stumble, order, inside, task_queue=stack.task_queue
    )
    assert (f"{order} by attempt 2", [2]) == (result, await payments(stack, order))


async def test_a_block_that_failed_may_be_answered_otherwise(stack: Stack) -> None:
    """An activity that handles the error of its block completes without a row, as any activity."""
    order = stack.new_id()
    assert "nothing paid" == await stack.client.execute_workflow(
        program.pays, order, "gives_up", task_queue=stack.task_queue
    )
    assert [] == await payments(stack, order)


@pytest.mark.parametrize(
    ("how", "says"),
    [("asks_twice", "once in an activity"), ("threaded", "async def"), ("says_too_much", "the limit is")],
)
async def test_what_cannot_be_is_refused_for_good(stack: Stack, how: str, says: str) -> None:
    """One clear error, no second attempt, no rows."""
    order = stack.new_id()
    error = await fails(stack, program.pays, order, how)
    assert says in str(error)
    assert [] == await payments(stack, order)


async def test_a_local_activity_has_no_transaction(stack: Stack) -> None:
    """The error says what to do instead."""
    error = await fails(stack, program.pays_locally, "local")
    assert "without .local" in str(error)


async def test_a_cancelled_transaction_leaves_no_rows(stack: Stack) -> None:
    """Cancelling a running activity undoes what it wrote, and it is closed as cancelled."""
    order = stack.new_id()
    handle = await stack.client.start_workflow(program.changes_its_mind, order, id=order, task_queue=stack.task_queue)
    await signs.seen(order)
    await handle.signal("stop", True)
    assert "cancelled" == await handle.result()
    assert [] == await payments(stack, order)


async def test_many_at_once_wait_for_connections(stack: Stack) -> None:
    """More activities than connections all commit, once each."""
    order = stack.new_id()
    results = await stack.client.execute_workflow(program.pays_many, order, 40, task_queue=stack.task_queue)
    assert [1] * 40 == await payments(stack, order)
    assert 40 == len(set(results))
