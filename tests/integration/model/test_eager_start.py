"""Eager starts: the first task comes with the start's answer where that can be, and as always where it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from perdure.client import Client
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure_proto.service import EagerStart, StartWorkflowRequest
from perdure_proto.tasks import WorkflowTask
from perdure_worker import Worker
from perdure_worker.eager_start import EagerStarts
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_eager as program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        await running.client.execute_workflow(program.chained, 1, task_queue=running.task_queue)  # it is introduced now
        yield running


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[WorkflowTask | None]:
    """What came with each start for which a worker had set a place aside."""
    came: list[WorkflowTask | None] = []
    settle = EagerStarts.settle

    def noted(self: EagerStarts, place: EagerStart, task: WorkflowTask | None) -> None:
        came.append(task)
        settle(self, place, task)

    monkeypatch.setattr(EagerStarts, "settle", noted)
    return came


async def test_the_first_task_comes_with_the_answer(stack: Stack, settled: list[WorkflowTask | None]) -> None:
    """For every start of this client on the worker's queue, many at once."""
    starts = [
        stack.client.execute_workflow(program.chained, 2, task_queue=stack.task_queue, request_eager_start=True)
        for _ in range(20)
    ]
    assert [4] * 20 == await asyncio.gather(*starts)
    assert (20, 0) == (len(settled), settled.count(None))


async def test_without_being_asked_for_nothing_is_eager(stack: Stack, settled: list[WorkflowTask | None]) -> None:
    """A start says `request_eager_start`, as in Temporal."""
    assert 2 == await stack.client.execute_workflow(program.chained, 1, task_queue=stack.task_queue)
    assert [] == settled


async def test_another_process_takes_what_nobody_here_can(stack: Stack, settled: list[WorkflowTask | None]) -> None:
    """A client without a worker, a queue without one here, a type that the worker does not know."""
    address = stack.client.service.connection.address
    async with await Client.connect(address) as bare:
        eager = {"task_queue": stack.task_queue, "request_eager_start": True}
        assert 2 == await bare.execute_workflow("chained", 1, **eager, result_type=int)  # type: ignore[call-overload]
        async with Worker(bare, task_queue="elsewhere", workflows=[program.steps], activities=program.ACTIVITIES):
            handle = await stack.client.start_workflow(
                "failing", id=stack.new_id(), task_queue="elsewhere", request_eager_start=True
            )
            await handle.terminate()
    assert [] == settled


async def test_a_worker_without_a_free_slot_is_not_asked(stack: Stack, settled: list[WorkflowTask | None]) -> None:
    """The one slot belongs to its poll; the task comes by that."""
    async with Worker(
        stack.client,
        task_queue="narrow",
        workflows=[program.chained],
        activities=program.ACTIVITIES,
        max_concurrent_workflow_tasks=1,
    ):
        narrow = {"task_queue": "narrow", "request_eager_start": True}
        assert 2 == await stack.client.execute_workflow("chained", 1, **narrow, result_type=int)  # type: ignore[call-overload]
    assert [] == settled


async def test_a_refused_start_gives_its_place_back(stack: Stack, settled: list[WorkflowTask | None]) -> None:
    """More often than there are slots; and the next one is eager again."""
    workflow_id = stack.new_id()
    running = await stack.client.start_workflow(program.nudged, 1, id=workflow_id, task_queue=stack.task_queue)
    for _ in range(120):
        with pytest.raises(WorkflowAlreadyStartedError):
            await stack.client.start_workflow(
                program.nudged, 1, id=workflow_id, task_queue=stack.task_queue, request_eager_start=True
            )
    await running.terminate()
    await stack.client.execute_workflow(program.chained, 1, task_queue=stack.task_queue, request_eager_start=True)
    assert (120, False) == (settled.count(None), settled[-1] is None)


async def test_a_repeated_start_gets_the_same_task(stack: Stack) -> None:
    """The answer was lost: the task is in the next one too, and only one worker has it."""
    service = stack.client.service
    taker = service.eager_workers.reserve(stack.task_queue, "chained", "any")
    assert taker is not None
    request = StartWorkflowRequest(
        workflow_type="chained",
        task_queue=stack.task_queue,
        input=stack.client.data_converter.encode_args((1,), {})[0],
        request_id=str(uuid4()),
        eager=taker[1],
    )
    workflow_id = stack.new_id()
    first = await service.start(workflow_id, request)
    again = await service.start(workflow_id, request)
    assert first.task is not None
    assert again.task is not None
    assert (True, False, first.task.token) == (first.started, again.started, again.task.token)
    taker[0].settle(taker[1], again.task)
    assert 2 == await stack.client.get_workflow_handle(workflow_id, result_type=int).result()


async def test_a_session_that_is_not_there_changes_nothing(stack: Stack) -> None:
    """A place of a worker that the server does not know: the task goes to one that it knows."""
    request = StartWorkflowRequest(
        workflow_type="chained",
        task_queue=stack.task_queue,
        input=stack.client.data_converter.encode_args((1,), {})[0],
        eager=EagerStart(session="nobody", sequence=1),
    )
    workflow_id = stack.new_id()
    answer = await stack.client.service.start(workflow_id, request)
    assert answer.task is None
    assert 2 == await stack.client.get_workflow_handle(workflow_id, result_type=int).result()
