"""An example for every endpoint: what is sent, and what comes back.

They are made of the wire's own types, so an example that no longer fits does not import. `PATH_NAMES` are the names
that the examples use in paths.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Raw, Struct

from perdure_proto import async_activities, cluster, namespaces, service, tasks
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_proto.options import RetryPolicy
from perdure_proto.waitpoint_secret import RotateWaitpointSecretAnswer, RotateWaitpointSecretRequest
from perdure_server.frontend.routes import Nothing

RUN = "01980000-0000-7000-8000-000000000001"
NEW_RUN = "01980000-0000-7000-8000-000000000002"
MORNING = datetime(2026, 1, 1, 8, tzinfo=UTC)

PATH_NAMES = {
    "namespace": "default",
    "workflow_id": "order-1",
    "activity_id": "charge-1",
    "name": "approve",
    "update_id": "update-1",
    "task_queue": "default",
    "token": "q1Xk3cIuNmkHqBkAAAAAAQAAAAcBmAAAAAAHAIAAAAAAAAABAAAAAQAAAAAAAAAAYXBwcm92YWw",
}

EXECUTION = service.WorkflowExecutionInfo(
    workflow_id="order-1",
    run_id=RUN,
    workflow_type="order",
    task_queue="default",
    status="RUNNING",
    start_time=MORNING,
    history_length=11,
)

ACTIVITY = service.ActivityExecutionInfo(
    activity_id="charge-1",
    run_id=RUN,
    activity_type="charge",
    task_queue="default",
    status="RUNNING",
    start_time=MORNING,
)

TOKEN = f"a.17.{RUN}.5.1.1767254400000000"
"""A task token: the text of `activity.info().task_token`."""

UPDATED = service.UpdateWorkflowAnswer(
    update_id="update-1", run_id=RUN, stage="COMPLETED", result=Raw(b'{"quantity":3}')
)

NAMESPACE = namespaces.NamespaceInfo(name="default", retention=timedelta(days=3), created_at=MORNING)

REQUESTS: dict[str, Struct | Raw] = {
    "resume_waitpoint": Raw(b'{"approved":true}'),
    "rotate_waitpoint_secret": RotateWaitpointSecretRequest(grace=timedelta(days=7)),
    "start_workflow": service.StartWorkflowRequest(
        workflow_type="order", task_queue="default", input=Raw(b'["Ada"]'), request_id="r-1"
    ),
    "start_activity": service.StartActivityRequest(
        activity_type="charge",
        input=Raw(b"[10]"),
        start_to_close_timeout=timedelta(seconds=30),
        request_id="r-4",
    ),
    "cancel_activity": service.CancelWorkflowRequest(reason="the order was withdrawn", request_id="r-5"),
    "terminate_activity": service.TerminateWorkflowRequest(reason="it was started by mistake"),
    "signal_workflow": service.SignalWorkflowRequest(input=Raw(b'["Grace"]'), request_id="r-2"),
    "query_workflow": service.QueryWorkflowRequest(timeout=timedelta(seconds=5)),
    "update_workflow": service.UpdateWorkflowRequest(update_id="update-1", input=Raw(b"[3]")),
    "update_with_start": service.UpdateWithStartRequest(
        start=service.StartWorkflowRequest(
            workflow_type="order", input=Raw(b'["Ada"]'), request_id="r-4", id_conflict_policy="use_existing"
        ),
        update=service.UpdateWorkflowRequest(update_id="update-1", input=Raw(b"[3]")),
    ),
    "cancel_workflow": service.CancelWorkflowRequest(reason="the customer changed her mind", request_id="r-3"),
    "terminate_workflow": service.TerminateWorkflowRequest(reason="it was started by mistake"),
    "complete_activity": async_activities.CompleteActivityRequest(task_token=TOKEN, result=Raw(b'"approved"')),
    "fail_activity": async_activities.FailActivityRequest(
        workflow_id="order-1",
        activity_id="1",
        failure=Failure(message="the bank said no", info=ApplicationFailure(type="Declined", non_retryable=True)),
    ),
    "report_activity_cancellation": async_activities.ReportActivityCancellationRequest(task_token=TOKEN),
    "heartbeat_activity": async_activities.HeartbeatActivityRequest(task_token=TOKEN, details=Raw(b"[40]")),
    "pause_workflow": service.PauseWorkflowRequest(reason="the warehouse is closed", request_id="r-4"),
    "unpause_workflow": service.UnpauseWorkflowRequest(reason="it is open again", request_id="r-5"),
    "reset_workflow": service.ResetWorkflowRequest(
        activity_id="3", reason="the price was wrong", reapply_exclude=("update",), request_id="r-6"
    ),
    "reopen_workflow": service.ReopenWorkflowRequest(reason="mended in release 12", request_id="r-7"),
    "pause_activity": service.PauseActivityRequest(reason="the bank is down"),
    "unpause_activity": service.UnpauseActivityRequest(reset_attempts=True, jitter=timedelta(seconds=30)),
    "reset_activity": service.ResetActivityRequest(reset_heartbeat=True),
    "update_activity_options": service.UpdateActivityOptionsRequest(start_to_close_timeout=timedelta(minutes=5)),
    "poll": tasks.PollRequest(
        session="s-1",
        sequence=1,
        workflow_slots=10,
        activity_slots=10,
        worker=tasks.WorkerInfo(identity="7@host", workflow_types=("order",), activity_types=("charge",)),
    ),
    "respond": tasks.RespondRequest(
        session="s-1",
        sequence=2,
        acknowledged=(1,),
        completions=(tasks.ActivityTaskCompletion(token="t-1", result=Raw(b'"paid"')),),  # noqa: S106 - a task's name
        activity_slots=10,
    ),
    "leave": tasks.LeaveRequest(session="s-1"),
    "create_namespace": namespaces.CreateNamespaceRequest(
        description="orders", retention=timedelta(days=7), rps_max=50.0
    ),
    "update_namespace": namespaces.UpdateNamespaceRequest(rps_max=100.0),
}

ANSWERS: dict[str, Struct] = {
    "start_workflow": service.StartWorkflowAnswer(workflow_id="order-1", run_id=RUN),
    "describe_workflow": service.DescribeWorkflowAnswer(
        execution=EXECUTION,
        first_execution_run_id=RUN,
        pending_activities=(
            service.PendingActivity(
                activity_id="1",
                activity_type="charge",
                state="STARTED",
                attempt=2,
                scheduled_event_id=5,
                scheduled_time=MORNING,
                last_worker_identity="7@host",
                task_queue="default",
            ),
        ),
        retry_policy=RetryPolicy(maximum_attempts=3),
    ),
    "start_activity": service.StartActivityAnswer(activity_id="charge-1", run_id=RUN),
    "describe_activity": service.DescribeActivityAnswer(execution=ACTIVITY),
    "activity_result": service.ActivityResultAnswer(
        run_id=RUN, status="COMPLETED", activity_type="charge", result=Raw(b'"paid"')
    ),
    "cancel_activity": service.Acknowledged(run_id=RUN),
    "terminate_activity": service.Acknowledged(run_id=RUN),
    "list_activities": service.ListActivitiesAnswer(executions=(ACTIVITY,)),
    "count_activities": service.CountActivitiesAnswer(count=42),
    "signal_workflow": service.Acknowledged(run_id=RUN),
    "query_workflow": service.QueryWorkflowAnswer(result=Raw(b'"waiting for approval"')),
    "update_workflow": UPDATED,
    "update_with_start": service.UpdateWithStartAnswer(
        start=service.StartWorkflowAnswer(workflow_id="order-1", run_id=RUN), update=UPDATED
    ),
    "update_outcome": UPDATED,
    "cancel_workflow": service.Acknowledged(run_id=RUN),
    "terminate_workflow": service.Acknowledged(run_id=RUN),
    "pause_workflow": service.Acknowledged(run_id=RUN),
    "unpause_workflow": service.Acknowledged(run_id=RUN),
    "reset_workflow": service.ResetWorkflowAnswer(run_id=NEW_RUN),
    "reopen_workflow": service.ReopenWorkflowAnswer(run_id=NEW_RUN, action="RESET"),
    "pause_activity": service.Acknowledged(run_id=RUN),
    "unpause_activity": service.Acknowledged(run_id=RUN),
    "reset_activity": service.Acknowledged(run_id=RUN),
    "update_activity_options": service.Acknowledged(run_id=RUN),
    "workflow_result": service.WorkflowResultAnswer(
        run_id=RUN, status="COMPLETED", workflow_type="order", result=Raw(b'"shipped"')
    ),
    "history": service.HistoryAnswer(
        run_id=RUN,
        events=Raw(
            b'[{"event_type":"WorkflowExecutionSignaled","event_id":12,"event_time":"2026-01-01T08:00:00Z",'
            b'"signal_name":"approve","input":["Grace"]}]'
        ),
        next_event_id=13,
    ),
    "list_workflows": service.ListWorkflowsAnswer(executions=(EXECUTION,), next_cursor="b3JkZXItMQ"),
    "count_workflows": service.CountWorkflowsAnswer(count=42),
    "complete_activity": service.Acknowledged(run_id=RUN),
    "fail_activity": service.Acknowledged(run_id=RUN),
    "report_activity_cancellation": service.Acknowledged(run_id=RUN),
    "heartbeat_activity": async_activities.HeartbeatActivityAnswer(cancel_requested=True),
    "poll": tasks.PollAnswer(
        sequence=1,
        tasks=(
            tasks.ActivityTask(
                token="t-1",  # noqa: S106 - a task's name
                workflow_id="order-1",
                run_id=RUN,
                workflow_type="order",
                activity_id="1",
                activity_type="charge",
                input=Raw(b'["Ada",3]'),
                scheduled_time=MORNING,
                current_attempt_scheduled_time=MORNING,
                started_time=MORNING,
                start_to_close_timeout=timedelta(minutes=1),
            ),
        ),
    ),
    "respond": tasks.RespondAnswer(sequence=2, results=(tasks.CompletionResult(),)),
    "leave": Nothing(),
    "describe_task_queue": service.DescribeTaskQueueAnswer(
        name="default",
        pollers=(
            service.PollerInfo(session="s-1", identity="7@host", workflow_types=("order",), activity_types=("charge",)),
        ),
        activity_backlog=3,
        servers=("server-1",),
    ),
    "create_namespace": NAMESPACE,
    "update_namespace": NAMESPACE,
    "describe_namespace": NAMESPACE,
    "resume_waitpoint": service.Acknowledged(run_id=RUN),
    "rotate_waitpoint_secret": RotateWaitpointSecretAnswer(old_valid_until=MORNING),
    "waitpoint_settings": service.WaitpointSettings(
        key="00" * 32, namespace_id=1, shards=512, url="https://perdure.example.org"
    ),
    "list_namespaces": namespaces.ListNamespacesAnswer(namespaces=(NAMESPACE,)),
    "describe_cluster": cluster.ClusterAnswer(
        shards=2,
        members=(
            cluster.ClusterMember(server="server-1", address="http://10.0.0.1:7233", version="0.1.0", shards=1),
            cluster.ClusterMember(server="server-2", address="http://10.0.0.2:7233", version="0.1.0", shards=1),
        ),
        owners=(0, 1),
    ),
    "version": service.VersionAnswer(
        server_version="0.1.0", protocol_version=1, protocol_version_min=1, server_id="server-1"
    ),
}
