"""Update-with-start in the client: one request, its repeats, and the handle of the workflow."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from perdure import Client, exceptions
from perdure.client import WithStartWorkflowOperation
from perdure_proto.errors import Code
from perdure_proto.service import StartWorkflowAnswer, UpdateStage, UpdateWithStartAnswer, UpdateWorkflowAnswer
from tests.unit.sdk.test_client import ROOT, StandInConnection, client, connection, order, set_amount

__all__ = ["client", "connection"]


def answered(stage: UpdateStage, **rest: Any) -> UpdateWithStartAnswer:
    return UpdateWithStartAnswer(
        start=StartWorkflowAnswer(workflow_id="o", run_id="r1"),
        update=UpdateWorkflowAnswer(update_id="u", run_id="r2", stage=stage, **rest),
    )


def start_of(**options: Any) -> WithStartWorkflowOperation[Any]:
    return WithStartWorkflowOperation(order("Ada"), id="o", id_conflict_policy="use_existing", **options)


async def test_both_are_asked_for_until_the_stage_is_there(client: Client, connection: StandInConnection) -> None:
    """The repeats carry the same request id and update id."""
    connection.answers = [answered("ADMITTED"), answered("ACCEPTED"), answered("COMPLETED", result=Raw(b"3"))]
    start = start_of()
    assert 3 == await client.execute_update_with_start_workflow(set_amount, 4, start_workflow_operation=start)
    asked = {(request.start.request_id, request.update.update_id) for _, _, request in connection.asked}
    assert (1, {f"{ROOT}/workflows/o/update-with-start/set_amount"}) == (
        len(asked),
        {at for _, at, _ in connection.asked},
    )
    handle = await start.workflow_handle()
    assert ("o", "r1") == (handle.id, handle.first_execution_run_id)


async def test_the_acceptance_is_enough_for_a_start(client: Client, connection: StandInConnection) -> None:
    """The handle then asks the run that took the update."""
    connection.answers = [answered("ACCEPTED"), answered("COMPLETED", result=Raw(b"3")).update]
    update = await client.start_update_with_start_workflow(set_amount(4), start_workflow_operation=start_of(), id="u")
    assert ("u", "r2", 3) == (update.id, update.workflow_run_id, await update.result())


async def test_a_refused_start_is_told_on_both_sides(client: Client, connection: StandInConnection) -> None:
    """To who sent the update, and to who waits for the workflow."""
    taken = exceptions.RPCError("taken", code=Code.WORKFLOW_ALREADY_STARTED, details={"run_id": "r9"})
    connection.answers = [taken]
    start = start_of()
    for asking in (
        lambda: client.execute_update_with_start_workflow("x", start_workflow_operation=start),
        start.workflow_handle,
    ):
        with pytest.raises(exceptions.WorkflowAlreadyStartedError) as caught:
            await asking()
        assert "r9" == caught.value.run_id


async def test_a_start_is_for_one_use(client: Client, connection: StandInConnection) -> None:
    """Its handle could not say which of two."""
    connection.answers = [answered("COMPLETED", result=Raw(b"3"))]
    start = start_of()
    await client.execute_update_with_start_workflow(set_amount, 4, start_workflow_operation=start)
    with pytest.raises(RuntimeError, match="one use"):
        await client.execute_update_with_start_workflow(set_amount, 4, start_workflow_operation=start)


async def test_mistakes_are_told_before_anything_is_sent(client: Client, connection: StandInConnection) -> None:
    """A missing policy, a wrong option, an argument that does not fit, a stage that cannot be waited for."""
    with pytest.raises(ValueError, match="id_conflict_policy"):
        WithStartWorkflowOperation("order", id="o")
    with pytest.raises(TypeError, match="no option 'idd'"):
        start_of(idd="x")
    send: Any = client.start_update_with_start_workflow
    with pytest.raises(exceptions.ConversionError):
        await send(set_amount, "many", start_workflow_operation=start_of())
    with pytest.raises(ValueError, match="ADMITTED"):
        await send(set_amount, 4, start_workflow_operation=start_of(), wait_for_stage="ADMITTED")
    assert [] == connection.asked
