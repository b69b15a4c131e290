"""Update-with-start: what a client calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple, Unpack, overload
from uuid import uuid4

from msgspec import structs

from perdure._client_interceptor import (
    StartWorkflowUpdateWithStartInput,
    UpdateWithStartStartWorkflowInput,
    UpdateWithStartUpdateWorkflowInput,
)
from perdure._client_root import start_options
from perdure._handle import WorkflowHandle
from perdure._headers import headers_of
from perdure._messages import Outgoing, UpdateCall, outgoing
from perdure._service import Service
from perdure._starting import given_to, start_input, start_of, start_request
from perdure._update_handle import WaitForStage, WorkflowUpdateHandle, update_request
from perdure._with_start import WithStartWorkflowOperation, send
from perdure_proto.service import UpdateWithStartRequest

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class UpdatesWithStart:
    """What a client does to update a workflow that it starts if need be."""

    _service: Service

    @overload
    async def start_update_with_start_workflow(
        self,
        update: UpdateCall[R],
        /,
        *,
        start_workflow_operation: WithStartWorkflowOperation[Any],
        wait_for_stage: WaitForStage = ...,
        id: str | None = ...,
    ) -> WorkflowUpdateHandle[R]: ...
    @overload
    async def start_update_with_start_workflow(
        self,
        update: Callable[[Unpack[Ts]], UpdateCall[R]],
        /,
        *args: *Ts,
        start_workflow_operation: WithStartWorkflowOperation[Any],
        wait_for_stage: WaitForStage = ...,
        id: str | None = ...,
    ) -> WorkflowUpdateHandle[R]: ...
    @overload
    async def start_update_with_start_workflow(
        self,
        update: str,
        /,
        *args: object,
        start_workflow_operation: WithStartWorkflowOperation[Any],
        wait_for_stage: WaitForStage = ...,
        id: str | None = ...,
    ) -> WorkflowUpdateHandle[Any]: ...
    async def start_update_with_start_workflow(  # type: ignore[misc]  # mypy cannot match *Ts with *args
        self,
        update: Any,
        /,
        *args: Any,
        start_workflow_operation: WithStartWorkflowOperation[Any],
        wait_for_stage: WaitForStage = "ACCEPTED",
        id: str | None = None,
    ) -> WorkflowUpdateHandle[Any]:
        """Starts a workflow, or takes the one that runs, and sends it an update, in one request.

        Args:
            update: the update, its call, or its name.
            args: its arguments.
            start_workflow_operation: the start, with its id policies. Its `workflow_handle()` is there afterwards.
            wait_for_stage: `"ACCEPTED"` (default) or `"COMPLETED"`.
            id: the update id; a workflow that has this update already answers, whatever the policies say. Default: a
                UUID.

        Raises `WorkflowAlreadyStartedError` when the policies refuse the start; the rest is as `start_update`.

        Example:
            ``start = WithStartWorkflowOperation(cart("Ada"), id="cart-ada", id_conflict_policy="use_existing")``
            ``await client.start_update_with_start_workflow(add_item, "tea", start_workflow_operation=start)``
        """
        call = outgoing(update, args, {}, UpdateCall)
        return await self._update_with_start(start_workflow_operation, call, id, wait_for_stage)

    @overload
    async def execute_update_with_start_workflow(
        self,
        update: UpdateCall[R],
        /,
        *,
        start_workflow_operation: WithStartWorkflowOperation[Any],
        id: str | None = ...,
    ) -> R: ...
    @overload
    async def execute_update_with_start_workflow(
        self,
        update: Callable[[Unpack[Ts]], UpdateCall[R]],
        /,
        *args: *Ts,
        start_workflow_operation: WithStartWorkflowOperation[Any],
        id: str | None = ...,
    ) -> R: ...
    @overload
    async def execute_update_with_start_workflow(
        self,
        update: str,
        /,
        *args: object,
        start_workflow_operation: WithStartWorkflowOperation[Any],
        id: str | None = ...,
    ) -> Any: ...
    async def execute_update_with_start_workflow(  # type: ignore[misc]  # mypy cannot match *Ts with *args
        self,
        update: Any,
        /,
        *args: Any,
        start_workflow_operation: WithStartWorkflowOperation[Any],
        id: str | None = None,
    ) -> Any:
        """`start_update_with_start_workflow`, then the update's result. Raises what the two raise.

        Example:
            ``total = await client.execute_update_with_start_workflow(add_item("tea"), start_workflow_operation=start)``
        """
        call = outgoing(update, args, {}, UpdateCall)
        handle = await self._update_with_start(start_workflow_operation, call, id, "COMPLETED")
        return await handle.result()

    async def _update_with_start(
        self, operation: WithStartWorkflowOperation[Any], call: Outgoing, id: str | None, stage: WaitForStage
    ) -> WorkflowUpdateHandle[Any]:
        operation.begin()
        try:
            start = start_of(operation.workflow, operation.args, operation.result_type)
            options = dict(operation.options)
            workflow_id = options.pop("id", None) or str(uuid4())
            update = UpdateWithStartUpdateWorkflowInput(id or str(uuid4()), call.name, call.args, stage, call.kwargs)
            update.arg_types, update.ret_type = call.parameters, call.result_type
            started = start_input(start, workflow_id, options, UpdateWithStartStartWorkflowInput)
            given = StartWorkflowUpdateWithStartInput(started, update, operation.end)
            return await self._service.through.start_update_with_start_workflow(given)
        except BaseException as error:
            operation.end(error)
            raise

    async def _update_with_start_now(self, input: StartWorkflowUpdateWithStartInput) -> WorkflowUpdateHandle[Any]:
        start, update = input.start_workflow_input, input.update_workflow_input
        call = Outgoing.of(update.update, update.args, update.kwargs, update.arg_types, update.ret_type)
        asked = update_request(self._service, call, update.update_id, update.wait_for_stage)
        request = UpdateWithStartRequest(
            start=start_request(self._service, given_to(start), start_options(start)),
            update=structs.replace(asked, header=headers_of(update.headers)),
        )
        answer = await send(self._service, (start.id, start.workflow), call, request)
        handle: WorkflowHandle[Any] = WorkflowHandle(self._service, start.id, run_id=None, result_type=start.ret_type)
        input.on_start(handle.started_as(answer.start.run_id))
        told = answer.update
        return handle.get_update_handle(told.update_id, run_id=told.run_id, result_type=call.result_type).known(told)
