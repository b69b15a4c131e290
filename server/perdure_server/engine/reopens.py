"""Reopening: a workflow that failed on a bug goes on in a new run, one whose task keeps failing is tried at once.

The last good point of a failed run is the task that failed it: all that came before is kept, and only that task is done
again, by the repaired code. What cannot be undone is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure_proto import service as svc
from perdure_proto.errors import Code, ServiceError
from perdure_server.engine.execution import Execution
from perdure_server.engine.resets import Resets
from perdure_server.history import requests as req

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine


class Reopens:
    """Takes failed workflows up again."""

    def __init__(self, engine: Engine, resets: Resets) -> None:
        self._engine = engine
        self._resets = resets

    async def reopen(
        self, namespace: str, workflow_id: str, request: svc.ReopenWorkflowRequest
    ) -> svc.ReopenWorkflowAnswer:
        """Goes on after a bug was repaired. Raises `NOTHING_TO_REOPEN`, `WORKFLOW_ALREADY_STARTED`."""
        execution = await self._engine.residents.find(namespace, workflow_id, request.run_id)
        await self._engine.settled(execution)
        run_id = await self._resets.known(execution, request.request_id)
        if run_id:
            return svc.ReopenWorkflowAnswer(run_id=run_id, action="RESET")
        await self._refuse_replaced(execution)
        if execution.state.is_open:
            return await self._try_now(execution, dry_run=request.dry_run)
        if execution.state.status != "FAILED":
            raise _nothing(execution, f"it ended as {execution.state.status}: `workflow reset` takes it back")
        if not execution.state.previous_started_event_id:
            raise _nothing(execution, "it failed before its first task")
        notes = _lasting(execution)
        if request.dry_run:
            return svc.ReopenWorkflowAnswer(run_id=execution.run_id, action="RESET", notes=notes)
        back = svc.ResetWorkflowRequest(
            run_id=execution.run_id,
            point="last",
            reason=request.reason or "reopened",
            request_id=request.request_id,
            identity=request.identity,
        )
        answer = await self._resets.reset(namespace, workflow_id, back)
        return svc.ReopenWorkflowAnswer(run_id=answer.run_id, action="RESET", notes=notes)

    async def _refuse_replaced(self, execution: Execution) -> None:
        """Law: an id that is in use again is not taken from whoever has it."""
        current = await self._engine.residents.find(execution.namespace, execution.workflow_id)
        if current.run_id != execution.run_id:
            raise ServiceError(
                Code.WORKFLOW_ALREADY_STARTED,
                f"workflow id {execution.workflow_id!r} is in use again by run {current.run_id}; `workflow reset` with"
                " --run-id takes the earlier run back and ends that one",
                run_id=current.run_id,
            )

    async def _try_now(self, execution: Execution, *, dry_run: bool) -> svc.ReopenWorkflowAnswer:
        """A parked run: its task is due at once."""
        task = execution.state.workflow_task
        if task is None or not task.last_failure_cause:
            raise _nothing(execution, "it runs, and its last task did not fail")
        if not dry_run:
            self._engine.transact(execution, req.RetryWorkflowTask(forgive=True))
            await self._engine.settled(execution)
        return svc.ReopenWorkflowAnswer(run_id=execution.run_id, action="RETRY")


def _lasting(execution: Execution) -> tuple[str, ...]:
    """What reopening does not undo."""
    notes: list[str] = []
    parent = execution.state.started.parent_workflow_id
    if parent:
        notes.append(f"the parent {parent} was told that this workflow failed, and does not hear of the new run")
    policies = [child.initiated.parent_close_policy for child in execution.state.children.values()]
    closed = sum(policy != "abandon" for policy in policies)
    if closed:
        notes.append(f"{closed} children were closed or asked to stop when it failed")
    return tuple(notes)


def _nothing(execution: Execution, why: str) -> ServiceError:
    return ServiceError(Code.NOTHING_TO_REOPEN, f"workflow {execution.workflow_id!r}: {why}")
