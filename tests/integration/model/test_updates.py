"""Updates from end to end: with a start, in every state of the workflow, and at its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from perdure.cli.program import run
from perdure.client import WithStartWorkflowOperation, WorkflowHandle, WorkflowUpdateStage
from perdure.exceptions import (
    ApplicationError,
    RPCError,
    WorkflowAlreadyStartedError,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from perdure_proto.errors import Code
from perdure_worker import Worker
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_updates as program
from tests.programs.model_updates import add_item, cart, check_out, go, slow

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


def start_of(
    stack: Stack, workflow_id: str, policy: Any = "use_existing", **options: Any
) -> WithStartWorkflowOperation[list[str]]:
    return WithStartWorkflowOperation(
        cart("Ada"), id=workflow_id, task_queue=stack.task_queue, id_conflict_policy=policy, **options
    )


async def add(stack: Stack, item: str, start: WithStartWorkflowOperation[Any], id: str | None = None) -> int:
    return await stack.client.execute_update_with_start_workflow(add_item, item, start_workflow_operation=start, id=id)


async def begun(stack: Stack, workflow: Any, *args: Any) -> WorkflowHandle[Any]:
    handle: WorkflowHandle[Any] = await stack.client.start_workflow(
        workflow, *args, id=stack.new_id(), task_queue=stack.task_queue
    )
    return handle


async def test_an_update_brings_its_workflow_along(stack: Stack) -> None:
    """The first one starts it, the next ones find it, and its handle comes with them."""
    workflow_id = stack.new_id()
    first, second = start_of(stack, workflow_id), start_of(stack, workflow_id)
    assert [1, 2] == [await add(stack, "tea", first), await add(stack, "rice", second)]
    handle = await first.workflow_handle()
    assert handle.first_execution_run_id == (await second.workflow_handle()).first_execution_run_id
    assert ["tea", "rice"] == await handle.execute_update(check_out)
    assert ["Ada", "tea", "rice"] == await handle.result()


async def test_an_update_with_start_may_be_awaited_later(stack: Stack) -> None:
    """It is accepted first; its result is there by its id."""
    start = start_of(stack, stack.new_id())
    update = await stack.client.start_update_with_start_workflow(
        add_item("tea"), start_workflow_operation=start, id="u-1", wait_for_stage=WorkflowUpdateStage.ACCEPTED
    )
    assert ("u-1", 1) == (update.id, await update.result())
    handle = await start.workflow_handle()
    assert 1 == await handle.get_update_handle("u-1", result_type=int).result()
    await handle.execute_update(check_out)


async def test_a_refused_update_leaves_the_workflow_that_it_started(stack: Stack) -> None:
    """The start is done whatever the validator says."""
    start = start_of(stack, stack.new_id())
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await add(stack, "brick", start)
    assert "no bricks" in str(caught.value.cause)
    handle = await start.workflow_handle()
    assert [] == await handle.execute_update(check_out)


async def test_policies_hold_for_an_update_with_start(stack: Stack) -> None:
    """`fail` refuses both, `terminate_existing` replaces what runs, and an update that is known is answered."""
    workflow_id = stack.new_id()
    first = start_of(stack, workflow_id, "fail")
    assert 1 == await add(stack, "tea", first, "u-1")
    refused = start_of(stack, workflow_id, "fail")
    with pytest.raises(WorkflowAlreadyStartedError) as caught:
        await add(stack, "rice", refused)
    assert (await first.workflow_handle()).first_execution_run_id == caught.value.run_id
    with pytest.raises(WorkflowAlreadyStartedError):
        await refused.workflow_handle()
    assert 1 == await add(stack, "rice", start_of(stack, workflow_id, "fail"), "u-1")
    other = start_of(stack, workflow_id, "terminate_existing")
    assert 1 == await add(stack, "rice", other, "u-2")
    with pytest.raises(WorkflowFailureError):
        await (await first.workflow_handle()).result()
    handle = await other.workflow_handle()
    await handle.execute_update(check_out)
    assert ["Ada", "rice"] == await handle.result()


async def test_a_closed_workflow_answers_what_it_knows(stack: Stack) -> None:
    """Another update starts another one, unless the reuse policy forbids it."""
    workflow_id = stack.new_id()
    first = start_of(stack, workflow_id)
    assert 1 == await add(stack, "tea", first, "u-1")
    await (await first.workflow_handle()).execute_update(check_out)
    await (await first.workflow_handle()).result()
    assert 1 == await add(stack, "rice", start_of(stack, workflow_id), "u-1")
    with pytest.raises(WorkflowAlreadyStartedError):
        await add(stack, "rice", start_of(stack, workflow_id, id_reuse_policy="reject_duplicate"), "u-2")
    again = start_of(stack, workflow_id)
    assert 1 == await add(stack, "rice", again, "u-2")
    await (await again.workflow_handle()).execute_update(check_out)


async def test_a_workflow_that_returns_at_once_still_answers(stack: Stack) -> None:
    """The update is there with the first workflow task."""
    start = WithStartWorkflowOperation(
        program.returns_at_once, 4, id=stack.new_id(), task_queue=stack.task_queue, id_conflict_policy="fail"
    )
    update = await stack.client.execute_update_with_start_workflow("double", start_workflow_operation=start)
    assert (8, 4) == (update, await (await start.workflow_handle()).result())


async def test_a_repeated_request_is_one(stack: Stack) -> None:
    """The same request id and update id give the same run and outcome, at the same time and later."""
    workflow_id = stack.new_id()
    starts = [start_of(stack, workflow_id, "fail", request_id="r-1") for _ in range(4)]
    answers = await asyncio.gather(*[add(stack, "tea", start, "u-1") for start in starts])
    runs = {(await start.workflow_handle()).first_execution_run_id for start in starts}
    assert ([1, 1, 1, 1], 1) == (answers, len(runs))
    await (await starts[0].workflow_handle()).execute_update(check_out)


async def test_an_update_with_start_from_the_command_line(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """Started, found, refused: as the SDK does."""
    workflow_id = stack.new_id()
    address = stack.client.service.connection.address
    common = ["--id", workflow_id, "--input", '"Ada"', "--task-queue", stack.task_queue, "--address", address]
    common += ["--update-name", "add_item", "--output", "jsonl"]

    async def perdure(command: str, *words: str) -> tuple[int, Any]:
        status = await asyncio.to_thread(run, ["workflow", command, "cart", *common, *words])
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        return int(status), answers[0].get("result") if answers else None  # the server's log goes there too

    item = ["--update-input", '"tea"']
    assert (0, 1) == await perdure("execute-update-with-start", *item, "--id-conflict-policy", "fail")
    assert (0, 2) == await perdure("execute-update-with-start", *item, "--id-conflict-policy", "use_existing")
    assert 0 == (await perdure("start-update-with-start", *item, "--id-conflict-policy", "use_existing"))[0]
    assert 0 != (await perdure("execute-update-with-start", *item, "--id-conflict-policy", "fail"))[0]
    await stack.client.get_workflow_handle(workflow_id).execute_update(check_out)


async def test_an_accepted_update_fails_with_its_workflow(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    """Its caller gets Temporal's failure; the worker warns of it, and not of the one that may be abandoned."""
    handle = await begun(stack, program.leaves)
    update = await handle.start_update(slow, "x", id="u-1")
    await handle.start_update(program.unimportant, id="u-2")
    await handle.signal(go)
    assert "left" == await handle.result()
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await update.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert ("AcceptedUpdateCompletedWorkflow", True) == (caught.value.cause.type, caught.value.cause.non_retryable)
    warned = [record.getMessage() for record in caplog.records if "handlers are under way" in record.getMessage()]
    assert ["update 'slow' (id 'u-1')"] == [text.split(": ")[1].split(";")[0] for text in warned]


async def test_an_update_of_a_closed_workflow_is_refused(stack: Stack) -> None:
    """With the code that says so; one that it never had is not found either."""
    handle = await begun(stack, program.returns_at_once, 1)
    await handle.result()
    with pytest.raises(RPCError) as caught:
        await handle.execute_update("double")
    assert Code.WORKFLOW_CLOSED == caught.value.code
    with pytest.raises(RPCError) as caught:
        await handle.get_update_handle("u-9").result()
    assert Code.UPDATE_NOT_FOUND == caught.value.code


async def test_a_workflow_waits_for_its_handlers(stack: Stack) -> None:
    """Each handler knows its update, in the tasks that it starts too."""
    handle = await begun(stack, program.waits_for_handlers)
    both = (handle.execute_update(slow, "a", id="u-1"), handle.execute_update(slow, "b", id="u-2"))
    assert ("A", "B") == tuple(await asyncio.gather(*both))
    assert ["slow u-1", "slow u-1", "slow u-2", "slow u-2"] == sorted(await handle.result())


async def test_no_update_is_lost_to_continue_as_new(stack: Stack) -> None:
    """Each is answered by the run that it met, or by the next, and its id by the first answer along the chain."""
    handle = await begun(stack, program.hands_on, 1)

    async def updates(start: int) -> list[int]:
        return [await handle.execute_update("which_run", id=f"u-{start}-{number}") for number in range(5)]

    talking = asyncio.gather(*[updates(start) for start in range(3)])
    for _ in range(2):
        await handle.signal(go)
        await asyncio.sleep(0)
    answers = await talking
    again = [
        [await handle.execute_update("which_run", id=f"u-{start}-{number}") for number in range(5)]
        for start in range(3)
    ]
    await handle.signal(go)
    assert answers == again
    assert 3 == await handle.result()


async def test_an_update_outlives_its_worker(stack: Stack) -> None:
    """One worker accepts it and stops; another replays the workflow and ends the handler."""
    queue = f"moving-{stack.new_id()}"
    parts: dict[str, Any] = {"workflows": [program.holds_on], "activities": [program.price]}
    handle = await stack.client.start_workflow(program.holds_on, task_queue=queue)
    async with Worker(stack.client, task_queue=queue, **parts):
        update = await handle.start_update(slow, "x", id="u-1")
    waiting = asyncio.ensure_future(update.result())
    late = asyncio.ensure_future(handle.execute_update(slow, "y", id="u-2"))
    await handle.signal(go)
    async with Worker(stack.client, task_queue=queue, **parts):
        assert ("X1", "Y1") == (await waiting, await late)
        assert "done" == await handle.result()


async def test_a_validator_only_looks(stack: Stack) -> None:
    """One that starts something says that the program is wrong: the task fails, and nothing is accepted."""
    handle = await begun(stack, program.oversteps)
    waiting = asyncio.ensure_future(handle.execute_update("set", 1))
    async for event in handle.events(follow=True):
        if event.event_type == "WorkflowTaskFailed":
            break
    task = (await handle.describe()).pending_workflow_task
    assert task is not None
    assert task.last_failure is not None
    assert "cannot be used in a query or a validator" in task.last_failure.message
    await handle.terminate()
    with pytest.raises(RPCError) as caught:
        await waiting
    assert Code.WORKFLOW_CLOSED == caught.value.code
