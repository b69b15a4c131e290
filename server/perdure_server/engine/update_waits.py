"""Who waits for updates of a run, and what they are told: the answers, and the moments at which they are given.

An accepted update whose run closes has failed, and stays so: the log says both. One that was only admitted never was;
its caller gets an error, or goes on with it to the next run.
"""

from __future__ import annotations

from typing import Final

from perdure_proto import events as ev
from perdure_proto.errors import Code, ServiceError
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_proto.service import UpdateStage, UpdateWorkflowAnswer
from perdure_server.engine.execution import Execution, UpdateWaiter
from perdure_server.history.decision import UpdateRejected

ABANDONED: Final = "AcceptedUpdateCompletedWorkflow"
"""The type of the failure of an update whose workflow ended before its handler did; it is Temporal's."""


def await_update(execution: Execution, update_id: str, stage: UpdateStage) -> UpdateWaiter:
    """Somebody begins to wait; `forget` ends it."""
    waiter = UpdateWaiter(execution, update_id, stage)
    execution.update_waiters.setdefault(update_id, []).append(waiter)
    return waiter


def forget(waiter: UpdateWaiter) -> None:
    """Nobody waits any more, wherever the update has moved meanwhile."""
    waiters = waiter.at.update_waiters.get(waiter.update_id)
    if waiters is not None and waiter in waiters:
        waiters.remove(waiter)
        if not waiters:
            del waiter.at.update_waiters[waiter.update_id]
    if not waiter.cancel() and not waiter.cancelled():
        waiter.exception()  # seen: nobody else will look


def move_waiters(execution: Execution, following: Execution, update_id: str) -> None:
    """An admitted update goes on to the next run of the chain, and who waits for it too."""
    waiters = execution.update_waiters.pop(update_id, None)
    if waiters:
        following.update_waiters[update_id] = waiters
        for waiter in waiters:
            waiter.at = following


def answer_update(execution: Execution, update_id: str, answer: UpdateWorkflowAnswer) -> None:
    """Ends the wait for an update."""
    for waiter in execution.update_waiters.pop(update_id, ()):
        if not waiter.done():
            waiter.set_result(answer)


def wake_accepted(execution: Execution, update_id: str) -> None:
    """Tells those who wait only for the acceptance."""
    answer = UpdateWorkflowAnswer(update_id=update_id, run_id=execution.run_id, stage="ACCEPTED")
    for waiter in execution.update_waiters.get(update_id, ()):
        if not waiter.done() and waiter.stage == "ACCEPTED":
            waiter.set_result(answer)


def end_waits(execution: Execution) -> None:
    """The run has closed: those who wait still get what there is to say."""
    waits, execution.update_waiters = execution.update_waiters, {}
    for update_id, waiters in waits.items():
        for waiter in waiters:
            if waiter.done():
                continue
            if update_id in execution.state.updates:
                waiter.set_result(closed_answer(execution, update_id))
            else:
                waiter.set_exception(closed_error(execution))


def completed_answer(execution: Execution, event: ev.WorkflowExecutionUpdateCompleted) -> UpdateWorkflowAnswer:
    """The outcome that the log has."""
    return UpdateWorkflowAnswer(
        update_id=event.update_id,
        run_id=execution.run_id,
        stage="COMPLETED",
        result=event.result,
        encoding=event.encoding,
        failure=event.failure,
    )


def rejected_answer(execution: Execution, effect: UpdateRejected) -> UpdateWorkflowAnswer:
    """The validator refused, or there was no handler."""
    return UpdateWorkflowAnswer(
        update_id=effect.update_id, run_id=execution.run_id, stage="COMPLETED", failure=effect.failure
    )


def closed_answer(execution: Execution, update_id: str) -> UpdateWorkflowAnswer:
    """The workflow ended before its handler did."""
    message = f"the update failed because the workflow closed ({execution.state.status}) before it completed"
    failure = Failure(message=message, info=ApplicationFailure(type=ABANDONED, non_retryable=True))
    return UpdateWorkflowAnswer(update_id=update_id, run_id=execution.run_id, stage="COMPLETED", failure=failure)


def closed_error(execution: Execution) -> ServiceError:
    """The workflow ended without taking the update."""
    status = execution.state.status
    return ServiceError(
        Code.WORKFLOW_CLOSED, f"the run {execution.run_id} closed ({status}) before it took the update", status=status
    )
