"""Cancel requests of runs: when they count, and what a repeat gets."""

from __future__ import annotations

import pytest

from perdure_proto import commands as c
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import CancelWorkflowRequest
from tests.engine import NAMESPACE, OneServer, Worker

STOPPED = c.CancelWorkflowExecution()


async def cancel(server: OneServer, reason: str, request_id: str) -> str:
    request = CancelWorkflowRequest(reason=reason, request_id=request_id)
    return (await server.api.cancel_workflow(NAMESPACE, "order", request)).run_id


async def test_a_request_counts_when_it_is_acknowledged(server: OneServer, worker: Worker) -> None:
    """A description has it though a task is started, until whose end it is not written."""
    await server.start()
    task = await worker.workflow_task()
    await cancel(server, "no longer needed", "r1")
    assert "WorkflowExecutionCancelRequested" not in await server.event_types()
    told = await server.describe()
    assert (True, "no longer needed") == (told.cancel_requested, told.cancel_reason)
    await worker.answer(task)
    assert "WorkflowExecutionCancelRequested" in await server.event_types()


async def test_a_repeat_after_the_close_gets_the_first_answer(server: OneServer, worker: Worker) -> None:
    """Also one of a request that added nothing, for another had come before."""
    await server.start()
    first = [await cancel(server, "first", "r1"), await cancel(server, "second", "r2")]
    await worker.turn(STOPPED)
    assert first == [await cancel(server, "first", "r1"), await cancel(server, "second", "r2")]
    assert 1 == (await server.event_types()).count("WorkflowExecutionCancelRequested")


async def test_a_request_that_comes_too_late_is_refused(server: OneServer, worker: Worker) -> None:
    """Nobody had asked before, and nothing can come of it."""
    await server.start()
    await worker.turn(c.CompleteWorkflowExecution())
    with pytest.raises(ServiceError) as refused:
        await cancel(server, "too late", "r1")
    assert Code.WORKFLOW_CLOSED == refused.value.code
