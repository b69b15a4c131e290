"""The end of a client's chain of interceptors for an operator's calls: the requests themselves."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from msgspec import Raw, structs

from perdure import _outbound_control as given
from perdure._going_back import reset_request
from perdure._handle import WorkflowHandle
from perdure._service import Service
from perdure.converter import DataConverter
from perdure_proto import service as svc
from perdure_proto.codec import encoder


class ControlCalls:
    """What really happens when an operator asks."""

    _service: Service

    async def pause_workflow(self, input: given.PauseWorkflowInput) -> None:
        """Pauses it."""
        await self._service.pause(input.id, svc.PauseWorkflowRequest(**self._asked(input)))

    async def unpause_workflow(self, input: given.UnpauseWorkflowInput) -> None:
        """Lets it go on."""
        await self._service.unpause(input.id, svc.UnpauseWorkflowRequest(**self._asked(input)))

    async def reset_workflow(self, input: given.ResetWorkflowInput) -> WorkflowHandle[Any]:
        """Goes back."""
        request = reset_request(input.event_id, input.activity_id, input.reapply, reason=input.reason)
        mine = {"run_id": input.run_id or "", "identity": self._service.identity}
        answer = await self._service.reset(input.id, structs.replace(request, **mine))
        return WorkflowHandle(self._service, input.id, run_id=answer.run_id, result_type=None)

    async def reopen_workflow(self, input: given.ReopenWorkflowInput) -> WorkflowHandle[Any]:
        """Goes on."""
        answer = await self._service.reopen(input.id, svc.ReopenWorkflowRequest(**self._asked(input)))
        return WorkflowHandle(self._service, input.id, run_id=answer.run_id, result_type=None)

    async def pause_activity(self, input: given.PauseActivityInput) -> None:
        """Pauses one activity."""
        request = svc.PauseActivityRequest(
            run_id=input.run_id or "", reason=input.reason, identity=self._service.identity
        )
        await self._service.control_activity(input.id, input.activity_id, "pause", request)

    async def unpause_activity(self, input: given.UnpauseActivityInput) -> None:
        """Lets one activity go on."""
        request = svc.UnpauseActivityRequest(
            run_id=input.run_id or "",
            reset_attempts=input.reset_attempts,
            reset_heartbeat=input.reset_heartbeat,
            jitter=input.jitter,
        )
        await self._service.control_activity(input.id, input.activity_id, "unpause", request)

    async def reset_activity(self, input: given.ResetActivityInput) -> None:
        """Begins one activity anew."""
        request = svc.ResetActivityRequest(
            run_id=input.run_id or "",
            keep_paused=input.keep_paused,
            reset_heartbeat=input.reset_heartbeat,
            restore_options=input.restore_options,
            jitter=input.jitter,
        )
        await self._service.control_activity(input.id, input.activity_id, "reset", request)

    async def update_activity_options(self, input: given.UpdateActivityOptionsInput) -> None:
        """Changes one activity."""
        request = svc.UpdateActivityOptionsRequest(
            run_id=input.run_id or "",
            task_queue=input.task_queue,
            retry_policy=input.retry_policy,
            restore_original=input.restore_original,
            **(input.timeouts or {}),
        )
        await self._service.control_activity(input.id, input.activity_id, "update-options", request)

    async def resume_waitpoint(self, input: given.ResumeWaitpointInput) -> None:
        """Completes it. No payload codec: the value is as if it had come from a web page."""
        written, encoding = DataConverter().encode_value(input.value)
        if encoding:  # text that only this SDK would wrap: the service does it for all
            written = Raw(encoder.encode(input.value))
        await self._service.resume(input.token, written)

    def _asked(
        self, input: given.PauseWorkflowInput | given.UnpauseWorkflowInput | given.ReopenWorkflowInput
    ) -> dict[str, Any]:
        return {
            "run_id": input.run_id or "",
            "reason": input.reason,
            "request_id": str(uuid4()),
            "identity": self._service.identity,
        }
