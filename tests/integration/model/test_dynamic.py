"""Dynamic workflows, activities and handlers: what nobody declared by name is taken all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perdure import RawValue
from perdure.exceptions import WorkflowFailureError, WorkflowUpdateFailedError
from perdure_proto.service import DescribeTaskQueueAnswer, PollerInfo
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_dynamic as program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def test_a_type_that_nobody_declared_runs(stack: Stack) -> None:
    """Workflow, activities and messages; each knows by which name it was called, and values pass through unread."""
    value = {"deep": [1, 2.5]}
    handle = await stack.client.start_workflow("Unheard", 2, value, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.signal("greet", "Ada", 3)
    assert "any 6" == await handle.query("any", 1, 2, 3)
    assert ["for_change", value, 7] == await handle.execute_update("change", value, 7)
    assert ["for_raw", 7] == await handle.execute_update("raw", RawValue(b"7"))
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await handle.execute_update("change")
    assert "change needs a value" in str(caught.value.cause)
    await handle.signal("done")
    assert {
        "type": "Unheard",
        "near": ["near", 2, value],
        "local": ["local", 2, value],
        "heard": [["greet", "Ada", 3], ["done"]],
    } == await handle.result()


async def test_a_declared_type_comes_first(stack: Stack) -> None:
    """The dynamic ones take only what is left."""
    assert "known 3" == await stack.client.execute_workflow(program.fixed, 3, task_queue=stack.task_queue)


async def test_the_stack_is_not_a_dynamic_query(stack: Stack) -> None:
    """What the service itself asks goes past the handler that takes every name."""
    handle = await stack.client.start_workflow("Unheard", 1, id=stack.new_id(), task_queue=stack.task_queue)
    assert "any_workflow" in await handle.query("__stack_trace")
    assert "Unheard" == (await handle.query("__perdure_workflow_metadata"))["workflow_type"]
    await handle.signal("done")
    await handle.result()


async def test_arguments_that_do_not_fit_are_refused(stack: Stack) -> None:
    """A dynamic query whose list is of numbers, and keyword arguments that nobody takes."""
    handle = await stack.client.start_workflow("Unheard", 1, id=stack.new_id(), task_queue=stack.task_queue)
    with pytest.raises(Exception, match="int"):
        await handle.query("any", "x")
    await handle.signal("done")
    await handle.result()
    with pytest.raises(WorkflowFailureError) as caught:
        await stack.client.execute_workflow("Unheard", id=stack.new_id(), task_queue=stack.task_queue)
    assert "IndexError" == getattr(caught.value.cause, "type", None)


async def test_a_queue_shows_who_takes_everything(stack: Stack) -> None:
    """Its workers name their types, and say that they take others too."""
    path = f"/api/v1/namespaces/default/task-queues/{stack.task_queue}"
    pollers: tuple[PollerInfo, ...] = ()
    while not pollers:  # the worker may not have polled yet
        pollers = (await stack.client.service.connection.call("GET", path, None, DescribeTaskQueueAnswer)).pollers
    (poller,) = pollers
    assert (("fixed",), True, ("known",), True) == (
        poller.workflow_types,
        poller.dynamic_workflows,
        poller.activity_types,
        poller.dynamic_activities,
    )
