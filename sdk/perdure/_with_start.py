"""Update-with-start as a client sees it: the start that goes with an update, and its handle once it is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple, Unpack, cast, overload

from perdure._call import Call
from perdure._messages import Outgoing
from perdure._options import StartOptions, checked
from perdure.exceptions import RPCError, WorkflowAlreadyStartedError
from perdure_proto.errors import Code
from perdure_proto.service import UpdateStage, UpdateWithStartAnswer, UpdateWithStartRequest

if TYPE_CHECKING:
    from perdure._handle import WorkflowHandle
    from perdure._service import Service

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")


class WithStartWorkflowOperation(Generic[R_co]):
    """The start of an update-with-start: what `start_workflow` takes, for one use.

    Args:
        workflow: a call (`order("Ada")`), a workflow with its arguments behind it, or a type's name.
        args: positional arguments.
        result_type: what the result of a workflow given by name comes back as.
        options: those of `start_workflow`; `id_conflict_policy` has to be given, for it says what happens to a
            workflow of the id that runs.

    Raises `ValueError` without an `id_conflict_policy`, and `TypeError` for an option that is not there.

    Example:
        ``WithStartWorkflowOperation(cart("Ada"), id="cart-ada", id_conflict_policy="use_existing")``
    """

    @overload
    def __init__(
        self: WithStartWorkflowOperation[R], workflow: Coroutine[Any, Any, R], /, **options: Unpack[StartOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: WithStartWorkflowOperation[R],
        workflow: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        **options: Unpack[StartOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: WithStartWorkflowOperation[R],
        workflow: str,
        /,
        *args: object,
        result_type: type[R],
        **options: Unpack[StartOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: WithStartWorkflowOperation[Any], workflow: str, /, *args: object, **options: Unpack[StartOptions]
    ) -> None: ...
    def __init__(self, workflow: Any, /, *args: Any, result_type: Any = None, **options: Any) -> None:  # type: ignore[misc]  # mypy cannot match *Ts with *args
        self.options: dict[str, Any]
        try:
            self.options = _checked(options)
        except Exception:
            if isinstance(workflow, Call):
                workflow.close()
            raise
        self.workflow: Any = workflow
        self.args: tuple[object, ...] = args
        self.result_type: Any = result_type
        self._used: bool = False
        self._handle: asyncio.Future[WorkflowHandle[Any]] | None = None

    async def workflow_handle(self) -> WorkflowHandle[R_co]:
        """The workflow that the update went to; waits until the service has answered.

        Raises `WorkflowAlreadyStartedError` where the policies refused the start, and whatever else failed.
        """
        return cast("WorkflowHandle[R_co]", await asyncio.shield(self._known()))

    def begin(self) -> None:
        """It is used now. Raises `RuntimeError` the second time."""
        if self._used:
            raise RuntimeError("a WithStartWorkflowOperation is for one use: make another")
        self._used = True

    def end(self, handle: WorkflowHandle[Any] | BaseException) -> None:
        """The service has answered, or something failed."""
        known = self._known()
        if known.done():
            return
        if isinstance(handle, BaseException):
            known.set_exception(handle)
            known.exception()  # whoever sent the update is told of it too
        else:
            known.set_result(handle)

    def _known(self) -> asyncio.Future[WorkflowHandle[Any]]:
        if self._handle is None:
            self._handle = asyncio.get_running_loop().create_future()
        return self._handle


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    if options.get("id_conflict_policy") is None:
        raise ValueError("update-with-start needs an id_conflict_policy: fail, use_existing or terminate_existing")
    return checked(options, StartOptions, "WithStartWorkflowOperation")


async def send(
    service: Service, ids: tuple[str, str], call: Outgoing, request: UpdateWithStartRequest
) -> UpdateWithStartAnswer:
    """Sends both until the stage is reached; `ids` are the workflow's id and type.

    An admitted update lives in memory: asking again with the same ids brings it back where it was lost.
    Raises `WorkflowAlreadyStartedError` and `RPCError`.
    """
    workflow_id, workflow_type = ids
    stages: tuple[UpdateStage, ...] = ("ADMITTED", "ACCEPTED", "COMPLETED")
    try:
        while True:
            answer = await service.update_with_start(workflow_id, call.name, request)
            if stages.index(answer.update.stage) >= stages.index(request.update.wait_for_stage):
                return answer
    except RPCError as error:
        if error.code != Code.WORKFLOW_ALREADY_STARTED:
            raise
        run_id = error.details.get("run_id")
        raise WorkflowAlreadyStartedError(workflow_id, workflow_type, run_id=run_id) from error
