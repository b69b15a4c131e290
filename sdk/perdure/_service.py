"""The service as one client sees it: a method for each request, with its path, its body and its answer.

Values are already converted here. Long polls ask for a bounded wait; who needs longer asks again.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote
from weakref import WeakValueDictionary

from msgspec import Raw

from perdure._activity_requests import ActivityRequests
from perdure._client_interceptor import OutboundInterceptor
from perdure._cluster import Cluster
from perdure._eager_start import EagerWorkers
from perdure._query import LONG_POLL_SECONDS, query_of
from perdure._requests import Requests
from perdure.converter import DataConverter
from perdure.metrics import MetricMeter
from perdure_proto.async_activities import (
    CompleteActivityRequest,
    FailActivityRequest,
    HeartbeatActivityAnswer,
    HeartbeatActivityRequest,
    ReportActivityCancellationRequest,
)
from perdure_proto.cluster import ClusterAnswer
from perdure_proto.service import (
    Acknowledged,
    CancelWorkflowRequest,
    CountWorkflowsAnswer,
    DescribeWorkflowAnswer,
    HistoryAnswer,
    ListWorkflowsAnswer,
    Message,
    PauseWorkflowRequest,
    QueryWorkflowAnswer,
    QueryWorkflowRequest,
    ReopenWorkflowAnswer,
    ReopenWorkflowRequest,
    ResetWorkflowAnswer,
    ResetWorkflowRequest,
    SignalWorkflowRequest,
    StartWorkflowAnswer,
    StartWorkflowRequest,
    TerminateWorkflowRequest,
    UnpauseWorkflowRequest,
    UpdateStage,
    UpdateWithStartAnswer,
    UpdateWithStartRequest,
    UpdateWorkflowAnswer,
    UpdateWorkflowRequest,
    WorkflowResultAnswer,
)


class Service(ActivityRequests):
    """Requests of one client in one namespace."""

    def __init__(self, connection: Cluster, namespace: str, *, identity: str, converter: DataConverter) -> None:
        self.connection = connection
        self.namespace = namespace
        self.identity = identity
        self.converter = converter
        self.root: str = f"/api/v1/namespaces/{quote(namespace, safe='')}"
        self.meter: MetricMeter = MetricMeter()
        """Where metrics of users' code go."""
        self.eager_workers: EagerWorkers = EagerWorkers()
        """The workers of this client that run in this process."""
        self.outbound: OutboundInterceptor | None = None
        """What the calls of the client pass through; None when it has no interceptors."""
        self.calls: OutboundInterceptor
        """What really happens. Set by the client."""
        self._lanes: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def through(self) -> OutboundInterceptor:
        """What a call passes that is rare enough to be described for interceptors also where there are none."""
        return self.outbound or self.calls

    def _to(self, workflow_id: str) -> Requests:
        """For requests about a workflow; without an id, to any server."""
        return self.connection.about(self.namespace, workflow_id) if workflow_id else self.connection

    def _path(self, workflow_id: str, *parts: str, **query: str | float) -> str:
        segments = "/".join(quote(part, safe="") for part in (workflow_id, *parts))
        return f"{self.root}/workflows/{segments}{query_of(query)}"

    async def start(self, workflow_id: str, request: StartWorkflowRequest) -> StartWorkflowAnswer:
        """Starts a workflow. A signal that goes with it keeps its place among those that this client sends."""
        if request.start_signal is not None:
            async with self._lanes.setdefault(workflow_id, asyncio.Lock()):
                return await self._start(workflow_id, request)
        return await self._start(workflow_id, request)

    async def _start(self, workflow_id: str, request: StartWorkflowRequest) -> StartWorkflowAnswer:
        return await self._to(workflow_id).call("POST", self._path(workflow_id), request, StartWorkflowAnswer)

    async def describe(self, workflow_id: str, run_id: str) -> DescribeWorkflowAnswer:
        """Describes a run; the current one where no run id is given, here and below."""
        return await self._to(workflow_id).call(
            "GET", self._path(workflow_id, run_id=run_id), None, DescribeWorkflowAnswer
        )

    async def signal(self, workflow_id: str, name: str, request: SignalWorkflowRequest) -> Acknowledged:
        """Sends a signal. Those of one client to one workflow wait for each other, so that repeats keep the order."""
        lane = self._lanes.setdefault(workflow_id, asyncio.Lock())
        async with lane:
            return await self._to(workflow_id).call(
                "POST", self._path(workflow_id, "signal", name), request, Acknowledged
            )

    async def resume(self, token: str, value: Raw) -> Acknowledged:
        """Completes a waitpoint."""
        return await self.connection.call("POST", f"/api/v1/resume/{quote(token, safe='')}", value, Acknowledged)

    async def query(self, workflow_id: str, name: str, request: QueryWorkflowRequest) -> QueryWorkflowAnswer:
        """Asks a query."""
        path, wait = self._path(workflow_id, "query", name), request.timeout.total_seconds()
        return await self._to(workflow_id).call("POST", path, request, QueryWorkflowAnswer, wait)

    async def update(self, workflow_id: str, name: str, request: UpdateWorkflowRequest) -> UpdateWorkflowAnswer:
        """Sends an update and waits, for as long as the request says, for a stage."""
        path, wait = self._path(workflow_id, "update", name), request.wait.total_seconds()
        return await self._to(workflow_id).call("POST", path, request, UpdateWorkflowAnswer, wait)

    async def update_with_start(
        self, workflow_id: str, name: str, request: UpdateWithStartRequest
    ) -> UpdateWithStartAnswer:
        """Starts a workflow if need be, sends it an update and waits as `update` does."""
        path, wait = self._path(workflow_id, "update-with-start", name), request.update.wait.total_seconds()
        return await self._to(workflow_id).call("POST", path, request, UpdateWithStartAnswer, wait)

    async def poll_update(
        self, workflow_id: str, update_id: str, run_id: str, stage: UpdateStage
    ) -> UpdateWorkflowAnswer:
        """Waits for a stage of an update that was sent."""
        wait = LONG_POLL_SECONDS
        path = self._path(workflow_id, "updates", update_id, run_id=run_id, wait_for_stage=stage, wait=wait)
        return await self._to(workflow_id).call("GET", path, None, UpdateWorkflowAnswer, wait)

    async def cancel(self, workflow_id: str, request: CancelWorkflowRequest) -> Acknowledged:
        """Asks a workflow to stop."""
        return await self._to(workflow_id).call("POST", self._path(workflow_id, "cancel"), request, Acknowledged)

    async def terminate(self, workflow_id: str, request: TerminateWorkflowRequest) -> Acknowledged:
        """Stops a workflow without asking it."""
        return await self._to(workflow_id).call("POST", self._path(workflow_id, "terminate"), request, Acknowledged)

    async def pause(self, workflow_id: str, request: PauseWorkflowRequest) -> Acknowledged:
        """Stops what is handed out of a run, and its clocks."""
        return await self._to(workflow_id).call("POST", self._path(workflow_id, "pause"), request, Acknowledged)

    async def unpause(self, workflow_id: str, request: UnpauseWorkflowRequest) -> Acknowledged:
        """Lets a paused run go on."""
        return await self._to(workflow_id).call("POST", self._path(workflow_id, "unpause"), request, Acknowledged)

    async def reset(self, workflow_id: str, request: ResetWorkflowRequest) -> ResetWorkflowAnswer:
        """Takes a workflow back to an earlier point."""
        return await self._to(workflow_id).call("POST", self._path(workflow_id, "reset"), request, ResetWorkflowAnswer)

    async def reopen(self, workflow_id: str, request: ReopenWorkflowRequest) -> ReopenWorkflowAnswer:
        """Goes on after a bug was repaired."""
        return await self._to(workflow_id).call(
            "POST", self._path(workflow_id, "reopen"), request, ReopenWorkflowAnswer
        )

    async def control_activity(self, workflow_id: str, activity_id: str, verb: str, request: Message) -> Acknowledged:
        """Does something to one pending activity: `pause`, `unpause`, `reset` or `update-options`."""
        path = self._path(workflow_id, "activities", activity_id, verb)
        return await self._to(workflow_id).call("POST", path, request, Acknowledged)

    async def result(self, workflow_id: str, run_id: str) -> WorkflowResultAnswer:
        """Waits for the end of a run."""
        path = self._path(workflow_id, "result", run_id=run_id, wait=LONG_POLL_SECONDS)
        return await self._to(workflow_id).call("GET", path, None, WorkflowResultAnswer, LONG_POLL_SECONDS)

    async def history(self, workflow_id: str, run_id: str, after: int, *, wait: float = 0.0) -> HistoryAnswer:
        """Events after an id; waits for the next one where there is none."""
        path = self._path(workflow_id, "history", run_id=run_id, after=after, wait=wait)
        return await self._to(workflow_id).call("GET", path, None, HistoryAnswer, wait)

    async def complete_activity(self, request: CompleteActivityRequest) -> Acknowledged:
        """Completes an activity from elsewhere."""
        return await self._to(request.workflow_id).call(
            "POST", f"{self.root}/activity-tasks/complete", request, Acknowledged
        )

    async def fail_activity(self, request: FailActivityRequest) -> Acknowledged:
        """Fails an attempt of an activity from elsewhere."""
        return await self._to(request.workflow_id).call(
            "POST", f"{self.root}/activity-tasks/fail", request, Acknowledged
        )

    async def report_activity_cancellation(self, request: ReportActivityCancellationRequest) -> Acknowledged:
        """Says that an activity has stopped because it was asked to."""
        return await self._to(request.workflow_id).call(
            "POST", f"{self.root}/activity-tasks/cancel", request, Acknowledged
        )

    async def heartbeat_activity(self, request: HeartbeatActivityRequest) -> HeartbeatActivityAnswer:
        """Says that an attempt goes on."""
        path = f"{self.root}/activity-tasks/heartbeat"
        return await self._to(request.workflow_id).call("POST", path, request, HeartbeatActivityAnswer)

    async def cluster(self) -> ClusterAnswer:
        """Which servers there are, and who owns which shard."""
        return await self.connection.call("GET", "/api/v1/cluster", None, ClusterAnswer)

    async def list_workflows(self, query: str, *, limit: int, order_by: str, cursor: str) -> ListWorkflowsAnswer:
        """One page of a list."""
        asked = query_of({"query": query, "limit": limit, "order_by": order_by, "cursor": cursor})
        return await self.connection.call("GET", f"{self.root}/workflows{asked}", None, ListWorkflowsAnswer)

    async def count_workflows(self, query: str) -> CountWorkflowsAnswer:
        """How many workflows a query finds."""
        path = f"{self.root}/workflow-count{query_of({'query': query})}"
        return await self.connection.call("GET", path, None, CountWorkflowsAnswer)
