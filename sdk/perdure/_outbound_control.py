"""What interceptors of clients see of an operator's calls: pauses, going back, single activities, and waitpoints.

The inputs are plain and mutable, as all inputs of interceptors; an id without a run means the current run.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure._going_back import ALL, ActivityTimeouts, Reapplied, ResetPoint
from perdure_proto.options import RetryPolicy

if TYPE_CHECKING:
    from perdure._client_interceptor import OutboundInterceptor
    from perdure._handle import WorkflowHandle


@dataclass
class PauseWorkflowInput:
    """A pause of a workflow."""

    id: str
    run_id: str | None
    reason: str = ""


@dataclass
class UnpauseWorkflowInput:
    """The end of a workflow's pause."""

    id: str
    run_id: str | None
    reason: str = ""


@dataclass
class ResetWorkflowInput:
    """A workflow goes on from an earlier point."""

    id: str
    run_id: str | None
    event_id: ResetPoint | None = None
    activity_id: str | None = None
    reason: str = ""
    reapply: Collection[Reapplied] = ALL


@dataclass
class ReopenWorkflowInput:
    """A workflow goes on after a bug was repaired."""

    id: str
    run_id: str | None
    reason: str = ""


@dataclass
class PauseActivityInput:
    """A pause of one pending activity of a workflow."""

    id: str
    run_id: str | None
    activity_id: str
    reason: str = ""


@dataclass
class UnpauseActivityInput:
    """The end of an activity's pause."""

    id: str
    run_id: str | None
    activity_id: str
    reset_attempts: bool = False
    reset_heartbeat: bool = False
    jitter: timedelta = timedelta(0)


@dataclass
class ResetActivityInput:
    """A pending activity begins anew."""

    id: str
    run_id: str | None
    activity_id: str
    keep_paused: bool = False
    reset_heartbeat: bool = False
    restore_options: bool = False
    jitter: timedelta = timedelta(0)


@dataclass
class UpdateActivityOptionsInput:
    """Other options for a pending activity."""

    id: str
    run_id: str | None
    activity_id: str
    task_queue: str = ""
    timeouts: ActivityTimeouts | None = None
    retry_policy: RetryPolicy | None = None
    restore_original: bool = False


@dataclass
class ResumeWaitpointInput:
    """A value for a waitpoint. The token is a secret: nothing for logs or traces."""

    token: str
    value: Any = None


class OutboundControl:
    """The part of `OutboundInterceptor` that is about an operator's calls."""

    next: OutboundInterceptor

    async def pause_workflow(self, input: PauseWorkflowInput) -> None:
        """`WorkflowHandle.pause`."""
        await self.next.pause_workflow(input)

    async def unpause_workflow(self, input: UnpauseWorkflowInput) -> None:
        """`WorkflowHandle.unpause`."""
        await self.next.unpause_workflow(input)

    async def reset_workflow(self, input: ResetWorkflowInput) -> WorkflowHandle[Any]:
        """`WorkflowHandle.reset`."""
        return await self.next.reset_workflow(input)

    async def reopen_workflow(self, input: ReopenWorkflowInput) -> WorkflowHandle[Any]:
        """`WorkflowHandle.reopen`."""
        return await self.next.reopen_workflow(input)

    async def pause_activity(self, input: PauseActivityInput) -> None:
        """`WorkflowHandle.pause_activity`."""
        await self.next.pause_activity(input)

    async def unpause_activity(self, input: UnpauseActivityInput) -> None:
        """`WorkflowHandle.unpause_activity`."""
        await self.next.unpause_activity(input)

    async def reset_activity(self, input: ResetActivityInput) -> None:
        """`WorkflowHandle.reset_activity`."""
        await self.next.reset_activity(input)

    async def update_activity_options(self, input: UpdateActivityOptionsInput) -> None:
        """`WorkflowHandle.update_activity_options`."""
        await self.next.update_activity_options(input)

    async def resume_waitpoint(self, input: ResumeWaitpointInput) -> None:
        """`Client.resume_waitpoint`."""
        await self.next.resume_waitpoint(input)
