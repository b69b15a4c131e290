"""An update seen from a client: what is sent, and the wait for its result."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar, cast
from uuid import uuid4

from perdure import exceptions
from perdure._failures import exception_of
from perdure._messages import Outgoing
from perdure._query import LONG_POLL_SECONDS
from perdure._service import Service
from perdure_proto.service import UpdateWorkflowAnswer, UpdateWorkflowRequest

R_co = TypeVar("R_co", covariant=True)


class WorkflowUpdateStage(StrEnum):
    """How far an update has come."""

    ADMITTED = "ADMITTED"
    """The service has it; nothing can wait for this stage alone."""
    ACCEPTED = "ACCEPTED"
    COMPLETED = "COMPLETED"


WaitForStage = Literal["ACCEPTED", "COMPLETED", WorkflowUpdateStage.ACCEPTED, WorkflowUpdateStage.COMPLETED]


class WorkflowUpdateHandle(Generic[R_co]):
    """An update that was sent: wait for its result."""

    def __init__(self, service: Service, ids: tuple[str, str], *, run_id: str | None, result_type: Any) -> None:
        self._service = service
        self._workflow_id, self._id = ids
        self._run_id = run_id
        self._result_type = result_type
        self._known: UpdateWorkflowAnswer | None = None

    @property
    def id(self) -> str:
        """The update id."""
        return self._id

    @property
    def workflow_id(self) -> str:
        """The workflow id."""
        return self._workflow_id

    @property
    def workflow_run_id(self) -> str | None:
        """The run that took it, where known."""
        return self._run_id

    def known(self, answer: UpdateWorkflowAnswer) -> WorkflowUpdateHandle[R_co]:
        """The same handle, with an answer that came already."""
        self._known = answer if answer.stage == "COMPLETED" else None
        return self

    async def result(self) -> R_co:
        """Waits for the update's result. Raises `WorkflowUpdateFailedError` when it failed or was rejected."""
        while self._known is None:
            self.known(await self._service.poll_update(self._workflow_id, self._id, self._run_id or "", "COMPLETED"))
        if self._known.failure is not None:
            raise exceptions.WorkflowUpdateFailedError(exception_of(self._known.failure, self._service.converter))
        decoded = self._service.converter.decode_value(self._known.result, self._known.encoding, self._result_type)
        return cast(R_co, decoded)


def update_request(
    service: Service, call: Outgoing, id: str | None, stage: WaitForStage, *, run_id: str = ""
) -> UpdateWorkflowRequest:
    """An update as it travels. Raises `ValueError` for a stage that cannot be waited for."""
    if stage not in {"ACCEPTED", "COMPLETED"}:
        raise ValueError(f"wait_for_stage is 'ACCEPTED' or 'COMPLETED', not {str(stage)!r}")
    positional, kwargs, encoding = service.converter.encode_args(call.args, call.kwargs, call.parameters)
    return UpdateWorkflowRequest(
        update_id=id or str(uuid4()),
        run_id=run_id,
        input=positional,
        kwargs=kwargs,
        encoding=encoding,
        identity=service.identity,
        wait_for_stage="COMPLETED" if stage == "COMPLETED" else "ACCEPTED",
        wait=timedelta(seconds=LONG_POLL_SECONDS),
    )
