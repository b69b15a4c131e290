"""Workflows that this one did not start: signalled and cancelled from workflow code.

Everything turns into a request to the runtime of the workflow that runs.
"""

from __future__ import annotations

from perdure._children import send_signal
from perdure._handlers import runtime_for
from perdure._messages import Outgoing, Signals
from perdure._runtime import CancelExternalRequest, Target


class ExternalWorkflowHandle(Signals):
    """A workflow that this one did not start, made by `workflow.external()`.

    `signal` and `cancel` wait until the other workflow has it in its history. They raise `ApplicationError` when it
    cannot: its `type` is `EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND` where there is no such workflow or it is closed,
    `NAMESPACE_NOT_FOUND`, or `SIGNAL_COUNT_LIMIT_EXCEEDED` where it has taken as many signals as a run may.
    """

    def __init__(self, id: str, run_id: str | None = None, namespace: str | None = None) -> None:
        self.id = id
        self.run_id = run_id
        self.namespace = namespace

    async def cancel(self, reason: str = "") -> None:
        """Asks it to stop, and waits until it has been asked. What was asked cannot be taken back.

        Args:
            reason: what it is told. Default none.

        Raises `ApplicationError`, as of the class.

        Example:
            ``await workflow.external("order-1").cancel("out of stock")``
        """
        request = CancelExternalRequest(target=self._target(), reason=reason)
        await runtime_for("cancelling another workflow").cancel_external_workflow(request)

    async def _send_signal(self, call: Outgoing) -> None:
        await send_signal("signalling another workflow", self._target(), call)

    def _target(self) -> Target:
        return Target(workflow_id=self.id, run_id=self.run_id or "", namespace=self.namespace or "")

    def __repr__(self) -> str:
        return f"<external workflow {self.id}>"


def external(workflow_id: str, *, run_id: str | None = None, namespace: str | None = None) -> ExternalWorkflowHandle:
    """Another workflow, to signal or cancel. Nothing is asked of it yet.

    Args:
        workflow_id: its id.
        run_id: one of its runs. Default None: the current one.
        namespace: where it is. Default None: this workflow's.

    Raises `RuntimeError` outside a workflow.

    Example:
        ``await workflow.external("order-1").signal(approve, Approval(ok=True))``
    """
    runtime_for("workflow.external()")
    return ExternalWorkflowHandle(workflow_id, run_id, namespace)
