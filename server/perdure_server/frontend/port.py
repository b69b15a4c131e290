"""The seam between the HTTP edge and the engine: one method for each operation, in the types of the wire.

Every method may raise `ServiceError`, and may be cancelled at any await when the caller's connection closes: what was
decided goes on. Waits are bounded already. It must not know HTTP.
"""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol

from msgspec import Raw, Struct

from perdure_proto.async_activities import (
    CompleteActivityRequest,
    FailActivityRequest,
    HeartbeatActivityAnswer,
    HeartbeatActivityRequest,
    ReportActivityCancellationRequest,
)
from perdure_proto.cluster import ClusterAnswer
from perdure_proto.namespaces import CreateNamespaceRequest, ListNamespacesAnswer, NamespaceInfo, UpdateNamespaceRequest
from perdure_proto.service import (
    Acknowledged,
    ActivityResultAnswer,
    CancelWorkflowRequest,
    CountActivitiesAnswer,
    CountWorkflowsAnswer,
    DescribeActivityAnswer,
    DescribeTaskQueueAnswer,
    DescribeWorkflowAnswer,
    HistoryAnswer,
    ListActivitiesAnswer,
    ListWorkflowsAnswer,
    PauseActivityRequest,
    PauseWorkflowRequest,
    QueryWorkflowAnswer,
    QueryWorkflowRequest,
    ReopenWorkflowAnswer,
    ReopenWorkflowRequest,
    ResetActivityRequest,
    ResetWorkflowAnswer,
    ResetWorkflowRequest,
    SignalWorkflowRequest,
    StartActivityAnswer,
    StartActivityRequest,
    StartWorkflowAnswer,
    StartWorkflowRequest,
    TerminateWorkflowRequest,
    UnpauseActivityRequest,
    UnpauseWorkflowRequest,
    UpdateActivityOptionsRequest,
    UpdateStage,
    UpdateWithStartAnswer,
    UpdateWithStartRequest,
    UpdateWorkflowAnswer,
    UpdateWorkflowRequest,
    WaitpointSettings,
    WorkflowResultAnswer,
)
from perdure_proto.tasks import LeaveRequest, PollAnswer, PollRequest, RespondAnswer, RespondRequest
from perdure_proto.waitpoint_secret import RotateWaitpointSecretAnswer, RotateWaitpointSecretRequest


class OutcomeWait(Struct, frozen=True, kw_only=True):
    """Which run's update (empty: of the chain's current one), the stage to wait for, and for how long."""

    run_id: str = ""
    stage: UpdateStage = "COMPLETED"
    wait_s: float = 0.0


class Api(Protocol):
    """The operations. An empty `run_id` means the current run; `wait_s` 0 means do not wait."""

    async def start_workflow(
        self, namespace: str, workflow_id: str, request: StartWorkflowRequest
    ) -> StartWorkflowAnswer: ...

    async def signal_workflow(
        self, namespace: str, workflow_id: str, name: str, request: SignalWorkflowRequest
    ) -> Acknowledged: ...

    async def cancel_workflow(
        self, namespace: str, workflow_id: str, request: CancelWorkflowRequest
    ) -> Acknowledged: ...

    async def terminate_workflow(
        self, namespace: str, workflow_id: str, request: TerminateWorkflowRequest
    ) -> Acknowledged: ...

    async def pause_workflow(self, namespace: str, workflow_id: str, request: PauseWorkflowRequest) -> Acknowledged: ...

    async def unpause_workflow(
        self, namespace: str, workflow_id: str, request: UnpauseWorkflowRequest
    ) -> Acknowledged: ...

    async def reset_workflow(
        self, namespace: str, workflow_id: str, request: ResetWorkflowRequest
    ) -> ResetWorkflowAnswer: ...

    async def reopen_workflow(
        self, namespace: str, workflow_id: str, request: ReopenWorkflowRequest
    ) -> ReopenWorkflowAnswer: ...

    async def pause_activity(self, at: tuple[str, str, str], request: PauseActivityRequest) -> Acknowledged: ...

    async def unpause_activity(self, at: tuple[str, str, str], request: UnpauseActivityRequest) -> Acknowledged: ...

    async def reset_activity(self, at: tuple[str, str, str], request: ResetActivityRequest) -> Acknowledged: ...

    async def update_activity_options(
        self, at: tuple[str, str, str], request: UpdateActivityOptionsRequest
    ) -> Acknowledged: ...

    async def resume_waitpoint(self, token: str, value: Raw) -> Acknowledged: ...

    async def rotate_waitpoint_secret(self, request: RotateWaitpointSecretRequest) -> RotateWaitpointSecretAnswer: ...

    async def waitpoint_settings(self, namespace: str) -> WaitpointSettings: ...

    async def query_workflow(
        self, namespace: str, workflow_id: str, name: str, request: QueryWorkflowRequest
    ) -> QueryWorkflowAnswer: ...

    async def update_workflow(
        self, namespace: str, workflow_id: str, name: str, request: UpdateWorkflowRequest
    ) -> UpdateWorkflowAnswer: ...

    async def update_with_start(
        self, namespace: str, workflow_id: str, name: str, request: UpdateWithStartRequest
    ) -> UpdateWithStartAnswer: ...

    async def update_outcome(
        self, namespace: str, workflow_id: str, update_id: str, wait: OutcomeWait
    ) -> UpdateWorkflowAnswer: ...

    async def workflow_result(
        self, namespace: str, workflow_id: str, run_id: str, wait_s: float
    ) -> WorkflowResultAnswer: ...

    async def describe_workflow(self, namespace: str, workflow_id: str, run_id: str) -> DescribeWorkflowAnswer: ...

    async def history(
        self, namespace: str, workflow_id: str, run_id: str, after: int, wait_s: float
    ) -> HistoryAnswer: ...

    async def list_workflows(self, namespace: str, query: str, limit: int, cursor: str) -> ListWorkflowsAnswer: ...

    async def count_workflows(self, namespace: str, query: str) -> CountWorkflowsAnswer: ...

    async def start_activity(
        self, namespace: str, activity_id: str, request: StartActivityRequest
    ) -> StartActivityAnswer: ...

    async def cancel_activity(
        self, namespace: str, activity_id: str, request: CancelWorkflowRequest
    ) -> Acknowledged: ...

    async def terminate_activity(
        self, namespace: str, activity_id: str, request: TerminateWorkflowRequest
    ) -> Acknowledged: ...

    async def activity_result(
        self, namespace: str, activity_id: str, run_id: str, wait_s: float
    ) -> ActivityResultAnswer: ...

    async def describe_activity(self, namespace: str, activity_id: str, run_id: str) -> DescribeActivityAnswer: ...

    async def list_activities(self, namespace: str, query: str, limit: int, cursor: str) -> ListActivitiesAnswer: ...

    async def count_activities(self, namespace: str, query: str) -> CountActivitiesAnswer: ...

    async def complete_activity(self, namespace: str, request: CompleteActivityRequest) -> Acknowledged: ...

    async def fail_activity(self, namespace: str, request: FailActivityRequest) -> Acknowledged: ...

    async def report_activity_cancellation(
        self, namespace: str, request: ReportActivityCancellationRequest
    ) -> Acknowledged: ...

    async def heartbeat_activity(
        self, namespace: str, request: HeartbeatActivityRequest
    ) -> HeartbeatActivityAnswer: ...

    async def poll(self, namespace: str, queue: str, request: PollRequest) -> PollAnswer: ...

    async def respond(self, namespace: str, queue: str, request: RespondRequest) -> RespondAnswer: ...

    async def leave(self, namespace: str, queue: str, request: LeaveRequest) -> None: ...

    async def describe_task_queue(self, namespace: str, name: str) -> DescribeTaskQueueAnswer: ...

    async def create_namespace(self, name: str, request: CreateNamespaceRequest) -> NamespaceInfo: ...

    async def update_namespace(self, name: str, request: UpdateNamespaceRequest) -> NamespaceInfo: ...

    async def describe_namespace(self, name: str) -> NamespaceInfo: ...

    async def list_namespaces(self) -> ListNamespacesAnswer: ...

    def permits(self, body: bytes) -> bytes: ...

    async def deliver(self, body: bytes) -> bytes: ...

    async def lease_rates(self, body: bytes) -> bytes: ...

    async def look_at_namespaces(self) -> None: ...


class Cluster(Protocol):
    """Who owns what, as this server sees it."""

    @property
    def cut_off(self) -> str:
        """The name of this server while others may have taken over without its knowing."""
        ...

    def answer(self) -> ClusterAnswer:
        """All of it."""
        ...

    def address_of(self, shard_id: int) -> str:
        """Where the owner of a shard is; nothing where that is this server, or nobody is known."""
        ...

    def way_to(self, server: str) -> str | None:
        """Where a member is; nothing where that is this server, None where nobody of that name is known."""
        ...

    def look(self) -> None:
        """Asks for a fresh look."""
        ...

    async def changed(self, timeout: float) -> bool:
        """Waits so many seconds for a change, and says whether there was one."""
        ...


class Whole:
    """A cluster that is not known yet, or never will be: there is nobody else."""

    cut_off = ""

    def answer(self) -> ClusterAnswer:
        """Nobody."""
        return ClusterAnswer(shards=0, members=(), owners=())

    def address_of(self, _: int) -> str:
        """Nobody."""
        return ""

    def way_to(self, _: str) -> str | None:
        """Nobody."""
        return None

    def look(self) -> None:
        """There is nothing to see."""

    async def changed(self, timeout: float) -> bool:
        """Nothing changes."""
        await asyncio.sleep(timeout)
        return False


class Backlog(Protocol):
    """What waits for the database: runs, bytes of their events, and whether the database is away."""

    runs: int
    bytes: int
    is_away: bool


class NoBacklog:
    """Nothing ever waits."""

    runs: int = 0
    bytes: int = 0
    is_away: bool = False


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether the server can do its work; if not, what it waits for and why."""

    state: Literal["ready", "waiting for database", "waiting for ownership", "draining"]
    reason: str = ""


class Health(Protocol):
    """What the server knows of its own state."""

    def readiness(self) -> Readiness: ...
