"""The operations of the service, in the types of the wire: where the HTTP edge meets the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import msgspec

from perdure_proto import async_activities as asy
from perdure_proto import service as svc
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_proto.namespaces import CreateNamespaceRequest, ListNamespacesAnswer, NamespaceInfo, UpdateNamespaceRequest
from perdure_proto.waitpoint_secret import RotateWaitpointSecretAnswer, RotateWaitpointSecretRequest
from perdure_server.clock import SteadyClock
from perdure_server.config import ServerSettings
from perdure_server.engine.activity_control import ActivityControls
from perdure_server.engine.async_activities import AsyncActivities
from perdure_server.engine.committer import Committer
from perdure_server.engine.completions import Completions
from perdure_server.engine.engine import Engine
from perdure_server.engine.handout import Handout
from perdure_server.engine.handover import Handover
from perdure_server.engine.inbox import Inbox
from perdure_server.engine.messages import Messages
from perdure_server.engine.outbox import Outbox
from perdure_server.engine.peers import Mail, Peers
from perdure_server.engine.queries import Queries
from perdure_server.engine.reads import Reads
from perdure_server.engine.reopens import Reopens
from perdure_server.engine.resets import Resets
from perdure_server.engine.standalone import Standalone
from perdure_server.engine.starts import Starts
from perdure_server.engine.update_with_start import UpdatesWithStart
from perdure_server.engine.updates import Updates
from perdure_server.engine.upkeep import Upkeep
from perdure_server.engine.waitpoints import Waitpoints
from perdure_server.frontend.port import OutcomeWait
from perdure_server.matching.port import Times
from perdure_server.matching.service import Matching
from perdure_server.rates.rounds import Rounds
from perdure_server.store.port import Store


class EngineApi:
    """The engine and matching put together, and every operation of the service on them."""

    def __init__(
        self, store: Store, committer: Committer, times: Times, settings: ServerSettings, peers: Peers | None = None
    ) -> None:
        self.engine = Engine(store, committer, shards=settings.shards, settings=settings.engine, limits=settings.limits)
        self.engine.wall = times.wall
        queries = Queries(self.engine)
        self.handout = Handout(self.engine, Completions(self.engine, queries), queries)
        queries.handout = self.handout
        self.matching = self.engine.matching = Matching(
            self.handout, settings.engine, Times(clock=times.clock, wall=self.engine.now, wake=times.wake)
        )
        self.rates: Rounds | None = None
        """How rates are shared with the other servers; the composition root knows them."""
        self._starts = Starts(self.engine)
        self._messages = Messages(self.engine)
        self._updates = Updates(self.engine)
        self._updates_with_start = UpdatesWithStart(self.engine, self._starts, self._updates)
        self._queries = queries
        self._controls = ActivityControls(self.engine)
        self._resets = Resets(self.engine)
        self._reopens = Reopens(self.engine, self._resets)
        self._reads = Reads(self.engine)
        self._standalone = Standalone(self.engine, self._starts, self._messages, self._reads)
        inbox = Inbox(self.engine, self._starts, self._messages)
        self._mail = Mail(self.engine, inbox, peers)
        self.engine.outbox = Outbox(self.engine, inbox, self._mail)
        self.upkeep = Upkeep(self.engine)
        self._handover = Handover(self.engine, self.upkeep, queries)
        self._async_activities = AsyncActivities(self.engine)
        self._waitpoints = Waitpoints(self.engine, settings.public_url)

    async def close(self) -> None:
        """Ends what waits; nothing is handed out any more."""
        await self.matching.close()
        self.handout.stop()
        self.engine.outcomes.stop()
        self.engine.timers.stop()
        self.engine.outbox.stop()
        self.engine.successions.stop()
        self.engine.permits.stop()
        self._resets.stop()
        self.engine.abandon()

    def gain(self, shards: Collection[int]) -> None:
        """These shards are ours from now on; `upkeep.run()` recovers them."""
        self._handover.gain(shards)

    async def give_up(self, shards: Collection[int]) -> None:
        """Refuses what is new about these shards, and returns when the last commit about them has landed."""
        await self._handover.give_up(shards)

    def given(self, shards: Collection[int]) -> None:
        """These shards are another server's by now."""
        self._handover.given(shards)

    async def deliver(self, body: bytes) -> bytes:
        """What another server's run tells one of ours, and the answers (see `engine.peers`)."""
        return await self._mail.take(body)

    def permits(self, body: bytes) -> bytes:
        """A letter of another server about permits of concurrency limits, and the answer."""
        return self.engine.permits.homes.take(body)

    async def start_workflow(
        self, namespace: str, workflow_id: str, request: svc.StartWorkflowRequest
    ) -> svc.StartWorkflowAnswer:
        return await self._starts.start(namespace, workflow_id, request)

    async def start_activity(
        self, namespace: str, activity_id: str, request: svc.StartActivityRequest
    ) -> svc.StartActivityAnswer:
        return await self._standalone.start(namespace, activity_id, request)

    async def cancel_activity(
        self, namespace: str, activity_id: str, request: svc.CancelWorkflowRequest
    ) -> svc.Acknowledged:
        return await self._standalone.cancel(namespace, activity_id, request)

    async def terminate_activity(
        self, namespace: str, activity_id: str, request: svc.TerminateWorkflowRequest
    ) -> svc.Acknowledged:
        return await self._standalone.terminate(namespace, activity_id, request)

    async def activity_result(
        self, namespace: str, activity_id: str, run_id: str, wait_s: float
    ) -> svc.ActivityResultAnswer:
        return await self._standalone.result(namespace, activity_id, run_id, wait_s)

    async def describe_activity(self, namespace: str, activity_id: str, run_id: str) -> svc.DescribeActivityAnswer:
        return await self._standalone.describe(namespace, activity_id, run_id)

    async def list_activities(self, namespace: str, query: str, limit: int, cursor: str) -> svc.ListActivitiesAnswer:
        return await self._standalone.list(namespace, query, limit, cursor)

    async def count_activities(self, namespace: str, query: str) -> svc.CountActivitiesAnswer:
        return await self._standalone.count(namespace, query)

    async def signal_workflow(
        self, namespace: str, workflow_id: str, name: str, request: svc.SignalWorkflowRequest
    ) -> svc.Acknowledged:
        return await self._messages.signal(namespace, workflow_id, name, request)

    async def cancel_workflow(
        self, namespace: str, workflow_id: str, request: svc.CancelWorkflowRequest
    ) -> svc.Acknowledged:
        return await self._messages.cancel(namespace, workflow_id, request)

    async def terminate_workflow(
        self, namespace: str, workflow_id: str, request: svc.TerminateWorkflowRequest
    ) -> svc.Acknowledged:
        return await self._messages.terminate(namespace, workflow_id, request)

    async def pause_workflow(
        self, namespace: str, workflow_id: str, request: svc.PauseWorkflowRequest
    ) -> svc.Acknowledged:
        return await self._messages.pause(namespace, workflow_id, request)

    async def unpause_workflow(
        self, namespace: str, workflow_id: str, request: svc.UnpauseWorkflowRequest
    ) -> svc.Acknowledged:
        return await self._messages.unpause(namespace, workflow_id, request)

    async def reset_workflow(
        self, namespace: str, workflow_id: str, request: svc.ResetWorkflowRequest
    ) -> svc.ResetWorkflowAnswer:
        return await self._resets.reset(namespace, workflow_id, request)

    async def reopen_workflow(
        self, namespace: str, workflow_id: str, request: svc.ReopenWorkflowRequest
    ) -> svc.ReopenWorkflowAnswer:
        return await self._reopens.reopen(namespace, workflow_id, request)

    async def pause_activity(self, at: tuple[str, str, str], request: svc.PauseActivityRequest) -> svc.Acknowledged:
        return await self._controls.pause(at, request)

    async def unpause_activity(self, at: tuple[str, str, str], request: svc.UnpauseActivityRequest) -> svc.Acknowledged:
        return await self._controls.unpause(at, request)

    async def reset_activity(self, at: tuple[str, str, str], request: svc.ResetActivityRequest) -> svc.Acknowledged:
        return await self._controls.reset(at, request)

    async def update_activity_options(
        self, at: tuple[str, str, str], request: svc.UpdateActivityOptionsRequest
    ) -> svc.Acknowledged:
        return await self._controls.update_options(at, request)

    async def resume_waitpoint(self, token: str, value: msgspec.Raw) -> svc.Acknowledged:
        return await self._waitpoints.resume(token, value)

    async def rotate_waitpoint_secret(self, request: RotateWaitpointSecretRequest) -> RotateWaitpointSecretAnswer:
        return await self._waitpoints.rotate(request)

    async def waitpoint_settings(self, namespace: str) -> svc.WaitpointSettings:
        return await self._waitpoints.settings(namespace)

    async def query_workflow(
        self, namespace: str, workflow_id: str, name: str, request: svc.QueryWorkflowRequest
    ) -> svc.QueryWorkflowAnswer:
        return await self._queries.query(namespace, workflow_id, name, request)

    async def update_workflow(
        self, namespace: str, workflow_id: str, name: str, request: svc.UpdateWorkflowRequest
    ) -> svc.UpdateWorkflowAnswer:
        return await self._updates.update(namespace, workflow_id, name, request)

    async def update_with_start(
        self, namespace: str, workflow_id: str, name: str, request: svc.UpdateWithStartRequest
    ) -> svc.UpdateWithStartAnswer:
        return await self._updates_with_start.update_with_start(namespace, workflow_id, name, request)

    async def update_outcome(
        self, namespace: str, workflow_id: str, update_id: str, wait: OutcomeWait
    ) -> svc.UpdateWorkflowAnswer:
        return await self._updates.outcome(namespace, workflow_id, update_id, wait)

    async def workflow_result(
        self, namespace: str, workflow_id: str, run_id: str, wait_s: float
    ) -> svc.WorkflowResultAnswer:
        return await self._reads.result(namespace, workflow_id, run_id, wait_s)

    async def describe_workflow(self, namespace: str, workflow_id: str, run_id: str) -> svc.DescribeWorkflowAnswer:
        return await self._reads.describe(namespace, workflow_id, run_id)

    async def history(
        self, namespace: str, workflow_id: str, run_id: str, after: int, wait_s: float
    ) -> svc.HistoryAnswer:
        return await self._reads.history(namespace, workflow_id, run_id, after, wait_s)

    async def list_workflows(self, namespace: str, query: str, limit: int, cursor: str) -> svc.ListWorkflowsAnswer:
        return await self._reads.list_workflows(namespace, query, limit, cursor)

    async def count_workflows(self, namespace: str, query: str) -> svc.CountWorkflowsAnswer:
        return await self._reads.count_workflows(namespace, query)

    async def complete_activity(self, namespace: str, request: asy.CompleteActivityRequest) -> svc.Acknowledged:
        return await self._async_activities.complete(namespace, request)

    async def fail_activity(self, namespace: str, request: asy.FailActivityRequest) -> svc.Acknowledged:
        return await self._async_activities.fail(namespace, request)

    async def report_activity_cancellation(
        self, namespace: str, request: asy.ReportActivityCancellationRequest
    ) -> svc.Acknowledged:
        return await self._async_activities.report_cancellation(namespace, request)

    async def heartbeat_activity(
        self, namespace: str, request: asy.HeartbeatActivityRequest
    ) -> asy.HeartbeatActivityAnswer:
        return await self._async_activities.heartbeat(namespace, request)

    async def poll(self, namespace: str, queue: str, request: tasks.PollRequest) -> tasks.PollAnswer:
        await self.engine.residents.namespaces.get(namespace)
        return await self.matching.poll(namespace, queue, request)

    async def respond(self, namespace: str, queue: str, request: tasks.RespondRequest) -> tasks.RespondAnswer:
        return await self.matching.respond(namespace, queue, request)

    async def leave(self, namespace: str, queue: str, request: tasks.LeaveRequest) -> None:
        self.matching.leave(namespace, queue, request)

    async def describe_task_queue(self, namespace: str, name: str) -> svc.DescribeTaskQueueAnswer:
        await self.engine.residents.namespaces.get(namespace)
        return self.matching.describe(namespace, name)

    async def create_namespace(self, name: str, request: CreateNamespaceRequest) -> NamespaceInfo:
        return await self._reads.create_namespace(name, request)

    async def update_namespace(self, name: str, request: UpdateNamespaceRequest) -> NamespaceInfo:
        return await self._reads.update_namespace(name, request)

    async def look_at_namespaces(self) -> None:
        """Another server has changed one."""
        await self.engine.residents.namespaces.look_again()

    async def lease_rates(self, body: bytes) -> bytes:
        """What another server asks of us about rates that hold for all (see `perdure_server.rates`)."""
        if self.rates is None:
            raise ServiceError(Code.UNAVAILABLE, "this server has no others")
        return await self.rates.answer(body)

    async def describe_namespace(self, name: str) -> NamespaceInfo:
        return await self._reads.describe_namespace(name)

    async def list_namespaces(self) -> ListNamespacesAnswer:
        return await self._reads.list_namespaces()


def real_times() -> Times:
    """The clocks of this machine."""
    return Times(clock=time.monotonic, wall=SteadyClock(), wake=asyncio.sleep)
