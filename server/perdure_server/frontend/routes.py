"""Every endpoint, once: method, path, handler, types, and what the OpenAPI document says of it.

A path is matched segment by segment on the raw target, so an encoded slash stays inside its name. It must not know
what an operation does.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from perdure_proto import async_activities, cluster, service, tasks
from perdure_proto.errors import Code, ServiceError
from perdure_proto.waitpoint_secret import RotateWaitpointSecretAnswer, RotateWaitpointSecretRequest
from perdure_server.frontend import call, handlers
from perdure_server.frontend.handlers import Handler

PREFIX = "/api/v1/"

Method = Literal["GET", "POST"]


class Nothing(Struct, frozen=True):
    """An empty answer: done."""


class Route(Struct, frozen=True, kw_only=True):
    """One endpoint. `long` means that it may wait; `in_namespace` that its namespace must exist.

    A `request` that is `Raw` is any JSON value; no body is then `null`.
    """

    method: Method
    path: str
    handler: Handler
    summary: str
    answer: type[Struct]
    request: type[Struct | Raw] | None = None
    query: type[call.Parameters] = call.NoParameters
    long: bool = False
    in_namespace: bool = True

    @property
    def in_cluster(self) -> bool:
        """Whether it needs a server that is in touch with the others: all but the question who it is."""
        return self.handler is not handlers.version

    @property
    def name(self) -> str:
        """The operation's name: that of its handler."""
        return self.handler.__name__


NAMESPACE = "namespaces/{namespace}"
WORKFLOW = f"{NAMESPACE}/workflows/{{workflow_id}}"
ACTIVITY = f"{NAMESPACE}/activities/{{activity_id}}"
ATTEMPTS = f"{NAMESPACE}/activity-tasks"
RESUME = "resume/"
"""Whoever has a token may ask here, from anywhere."""
QUEUE = f"{NAMESPACE}/task-queues/{{task_queue}}"

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path=WORKFLOW,
        handler=handlers.start_workflow,
        summary="Start a workflow.",
        request=service.StartWorkflowRequest,
        answer=service.StartWorkflowAnswer,
    ),
    Route(
        method="GET",
        path=WORKFLOW,
        handler=handlers.describe_workflow,
        summary="Describe a workflow: its status, and everything that is pending.",
        query=call.RunParameters,
        answer=service.DescribeWorkflowAnswer,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/signal/{{name}}",
        handler=handlers.signal_workflow,
        summary="Send a signal; it is durable when the answer comes.",
        request=service.SignalWorkflowRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/query/{{name}}",
        handler=handlers.query_workflow,
        summary="Ask a running or closed workflow; a worker answers.",
        request=service.QueryWorkflowRequest,
        answer=service.QueryWorkflowAnswer,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/update/{{name}}",
        handler=handlers.update_workflow,
        summary="Send an update and wait for a stage of it.",
        request=service.UpdateWorkflowRequest,
        answer=service.UpdateWorkflowAnswer,
        long=True,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/update-with-start/{{name}}",
        handler=handlers.update_with_start,
        summary="Start a workflow, or take the one that runs, and send it an update.",
        request=service.UpdateWithStartRequest,
        answer=service.UpdateWithStartAnswer,
        long=True,
    ),
    Route(
        method="GET",
        path=f"{WORKFLOW}/updates/{{update_id}}",
        handler=handlers.update_outcome,
        summary="Fetch the outcome of an update, or wait for it.",
        query=call.OutcomeParameters,
        answer=service.UpdateWorkflowAnswer,
        long=True,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/cancel",
        handler=handlers.cancel_workflow,
        summary="Ask a workflow to cancel itself.",
        request=service.CancelWorkflowRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/terminate",
        handler=handlers.terminate_workflow,
        summary="End a workflow at once; its code runs no more.",
        request=service.TerminateWorkflowRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/pause",
        handler=handlers.pause_workflow,
        summary="Hand out nothing of a run any more, and stop its clocks.",
        request=service.PauseWorkflowRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/unpause",
        handler=handlers.unpause_workflow,
        summary="Let a paused run go on; all that is timed comes so much later.",
        request=service.UnpauseWorkflowRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/reset",
        handler=handlers.reset_workflow,
        summary="Go on from an earlier point in a new run; later messages are told again.",
        request=service.ResetWorkflowRequest,
        answer=service.ResetWorkflowAnswer,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/reopen",
        handler=handlers.reopen_workflow,
        summary="Go on after a bug was repaired: a failed run in a new one, a failing task now.",
        request=service.ReopenWorkflowRequest,
        answer=service.ReopenWorkflowAnswer,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/activities/{{activity_id}}/pause",
        handler=handlers.pause_activity,
        summary="Hand a pending activity out no more.",
        request=service.PauseActivityRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/activities/{{activity_id}}/unpause",
        handler=handlers.unpause_activity,
        summary="Let a paused activity go on.",
        request=service.UnpauseActivityRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/activities/{{activity_id}}/reset",
        handler=handlers.reset_activity,
        summary="Begin a pending activity anew: attempt 1, the whole time.",
        request=service.ResetActivityRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{WORKFLOW}/activities/{{activity_id}}/update-options",
        handler=handlers.update_activity_options,
        summary="Give a pending activity other timeouts, retries or queue.",
        request=service.UpdateActivityOptionsRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="GET",
        path=f"{WORKFLOW}/result",
        handler=handlers.workflow_result,
        summary="How a run ended, or wait for it.",
        query=call.ResultParameters,
        answer=service.WorkflowResultAnswer,
        long=True,
    ),
    Route(
        method="GET",
        path=f"{WORKFLOW}/history",
        handler=handlers.history,
        summary="The events of a run after a given one, or wait for more.",
        query=call.HistoryParameters,
        answer=service.HistoryAnswer,
        long=True,
    ),
    Route(
        method="GET",
        path=f"{NAMESPACE}/workflows",
        handler=handlers.list_workflows,
        summary="List workflows that a filter finds, newest first.",
        query=call.ListParameters,
        answer=service.ListWorkflowsAnswer,
    ),
    Route(
        method="GET",
        path=f"{NAMESPACE}/workflow-count",
        handler=handlers.count_workflows,
        summary="Count workflows that a filter finds.",
        query=call.CountParameters,
        answer=service.CountWorkflowsAnswer,
    ),
    Route(
        method="POST",
        path=f"{RESUME}{{token}}",
        handler=handlers.resume_waitpoint,
        summary="Complete a waitpoint with a JSON value, once. The token is enough: no API key is asked for.",
        request=Raw,
        answer=service.Acknowledged,
        in_namespace=False,
    ),
    Route(
        method="POST",
        path="waitpoint-secret",
        handler=handlers.rotate_waitpoint_secret,
        summary="Sign the tokens of waitpoints with another secret; those made before stay good for a grace.",
        request=RotateWaitpointSecretRequest,
        answer=RotateWaitpointSecretAnswer,
        in_namespace=False,
    ),
    Route(
        method="GET",
        path=f"{NAMESPACE}/waitpoints",
        handler=handlers.waitpoint_settings,
        summary="Workers: what the tokens of waitpoints are made with.",
        answer=service.WaitpointSettings,
    ),
    Route(
        method="POST",
        path=ACTIVITY,
        handler=handlers.start_activity,
        summary="Start an activity without a workflow.",
        request=service.StartActivityRequest,
        answer=service.StartActivityAnswer,
    ),
    Route(
        method="GET",
        path=ACTIVITY,
        handler=handlers.describe_activity,
        summary="Describe a standalone activity: its status, its attempts.",
        query=call.RunParameters,
        answer=service.DescribeActivityAnswer,
    ),
    Route(
        method="GET",
        path=f"{ACTIVITY}/result",
        handler=handlers.activity_result,
        summary="How a standalone activity ended, or wait for it.",
        query=call.ResultParameters,
        answer=service.ActivityResultAnswer,
        long=True,
    ),
    Route(
        method="POST",
        path=f"{ACTIVITY}/cancel",
        handler=handlers.cancel_activity,
        summary="Ask a standalone activity to stop.",
        request=service.CancelWorkflowRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{ACTIVITY}/terminate",
        handler=handlers.terminate_activity,
        summary="End a standalone activity at once.",
        request=service.TerminateWorkflowRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="GET",
        path=f"{NAMESPACE}/activities",
        handler=handlers.list_activities,
        summary="List standalone activities that a filter finds, newest first.",
        query=call.ListParameters,
        answer=service.ListActivitiesAnswer,
    ),
    Route(
        method="GET",
        path=f"{NAMESPACE}/activity-count",
        handler=handlers.count_activities,
        summary="Count standalone activities that a filter finds.",
        query=call.CountParameters,
        answer=service.CountActivitiesAnswer,
    ),
    Route(
        method="POST",
        path=f"{ATTEMPTS}/complete",
        handler=handlers.complete_activity,
        summary="Complete an activity from elsewhere, by task token or by ids.",
        request=async_activities.CompleteActivityRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{ATTEMPTS}/fail",
        handler=handlers.fail_activity,
        summary="Fail an attempt of an activity from elsewhere.",
        request=async_activities.FailActivityRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{ATTEMPTS}/cancel",
        handler=handlers.report_activity_cancellation,
        summary="Say that an activity stopped because it was asked to.",
        request=async_activities.ReportActivityCancellationRequest,
        answer=service.Acknowledged,
    ),
    Route(
        method="POST",
        path=f"{ATTEMPTS}/heartbeat",
        handler=handlers.heartbeat_activity,
        summary="Say that an attempt goes on, and hear whether it is to stop.",
        request=async_activities.HeartbeatActivityRequest,
        answer=async_activities.HeartbeatActivityAnswer,
    ),
    Route(
        method="POST",
        path=f"{QUEUE}/poll",
        handler=handlers.poll,
        summary="Workers: ask for tasks, and wait for them.",
        query=call.MemberParameters,
        request=tasks.PollRequest,
        answer=tasks.PollAnswer,
    ),
    Route(
        method="POST",
        path=f"{QUEUE}/respond",
        handler=handlers.respond,
        summary="Workers: complete tasks, and take what is due next.",
        query=call.MemberParameters,
        request=tasks.RespondRequest,
        answer=tasks.RespondAnswer,
    ),
    Route(
        method="POST",
        path=f"{QUEUE}/leave",
        handler=handlers.leave,
        summary="Workers: end a session.",
        query=call.MemberParameters,
        request=tasks.LeaveRequest,
        answer=Nothing,
    ),
    Route(
        method="GET",
        path=QUEUE,
        handler=handlers.describe_task_queue,
        summary="Who polls a task queue, and how much waits in it.",
        answer=service.DescribeTaskQueueAnswer,
    ),
    Route(
        method="POST",
        path=NAMESPACE,
        handler=handlers.create_namespace,
        summary="Create a namespace.",
        request=service.CreateNamespaceRequest,
        answer=service.NamespaceInfo,
        in_namespace=False,
    ),
    Route(
        method="GET",
        path=NAMESPACE,
        handler=handlers.describe_namespace,
        summary="Describe a namespace.",
        answer=service.NamespaceInfo,
        in_namespace=False,
    ),
    Route(
        method="GET",
        path="namespaces",
        handler=handlers.list_namespaces,
        summary="List all namespaces.",
        answer=service.ListNamespacesAnswer,
        in_namespace=False,
    ),
    Route(
        method="GET",
        path="cluster",
        handler=handlers.describe_cluster,
        summary="Which servers there are, and who owns which shard.",
        answer=cluster.ClusterAnswer,
        in_namespace=False,
    ),
    Route(
        method="GET",
        path="version",
        handler=handlers.version,
        summary="What a client checks first.",
        answer=service.VersionAnswer,
        in_namespace=False,
    ),
)


class Endpoint:
    """A route with its decoders, made once."""

    __slots__ = ("decoder", "empty", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.decoder: msgspec.json.Decoder[Any] | None = None
        self.empty = b"null" if route.request is Raw else b"{}"
        """What a request without a body asks with."""
        if route.request is not None:
            self.decoder = msgspec.json.Decoder(route.request)


class _Node:
    __slots__ = ("endpoints", "fixed", "name")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.name: _Node | None = None
        self.endpoints: dict[str, Endpoint] = {}


class RouteTable:
    """Finds the endpoint of a target, in one dictionary look-up for each segment."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in route.path.split("/"):
                if segment.startswith("{"):
                    node.name = node.name or _Node()
                    node = node.name
                else:
                    node = node.fixed.setdefault(segment, _Node())
            node.endpoints[route.method] = Endpoint(route)

    def find(self, method: str, path: str) -> tuple[Endpoint, list[str]]:
        """The endpoint of a path below the prefix, and the encoded names in it."""
        node, names = self._root, []
        for segment in path.split("/"):
            below = node.fixed.get(segment)
            if below is None:
                below = node.name
                if below is None:
                    raise ServiceError(Code.NOT_FOUND, f"no endpoint {PREFIX}{path}; see /api/openapi.json")
                names.append(segment)
            node = below
        endpoint = node.endpoints.get(method)
        if endpoint is None:
            raise _not_here(method, path, node.endpoints)
        return endpoint, names


def _not_here(method: str, path: str, endpoints: dict[str, Endpoint]) -> ServiceError:
    if not endpoints:
        return ServiceError(Code.NOT_FOUND, f"no endpoint {PREFIX}{path}; see /api/openapi.json")
    allowed = sorted(endpoints)
    return ServiceError(
        Code.METHOD_NOT_ALLOWED, f"{method} is not for {PREFIX}{path}: use {' or '.join(allowed)}", allowed=allowed
    )
