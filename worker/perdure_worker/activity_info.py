"""What the code of an activity may know: the `activity.Info` of its attempt, and why it is asked to stop."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from perdure.activity import ActivityCancellationDetails, Info
from perdure.converter import DataConverter
from perdure_proto.tasks import ActivityTask, WorkflowTask
from perdure_worker.outcome import LocalActivity

DETAILS: Final = MappingProxyType(
    {
        "PAUSED": ActivityCancellationDetails(paused=True),
        "RESET": ActivityCancellationDetails(reset=True),
        "CANCEL_REQUESTED": ActivityCancellationDetails(cancel_requested=True),
        "TIMED_OUT": ActivityCancellationDetails(timed_out=True),
        "WORKFLOW_CLOSED": ActivityCancellationDetails(not_found=True),
        "NOT_FOUND": ActivityCancellationDetails(not_found=True),
        "WORKER_SHUTDOWN": ActivityCancellationDetails(worker_shutdown=True),
    }
)


def details_of(reason: str) -> ActivityCancellationDetails:
    """A reason as activity code sees it; one that this version does not know is a request."""
    return DETAILS.get(reason, DETAILS["CANCEL_REQUESTED"])


def info_of(task: ActivityTask, converter: DataConverter, *, namespace: str, task_queue: str) -> Info:
    """The info of an attempt that the service handed out."""
    return Info(
        activity_id=task.activity_id,
        activity_type=task.activity_type,
        attempt=task.attempt,
        heartbeat_details=converter.decode_values(task.heartbeat_details, task.heartbeat_encoding),
        task_queue=task_queue,
        workflow_id=task.workflow_id,
        workflow_run_id=task.run_id,
        workflow_type=task.workflow_type,
        workflow_namespace=namespace,
        scheduled_time=task.scheduled_time,
        current_attempt_scheduled_time=task.current_attempt_scheduled_time,
        started_time=task.started_time,
        start_to_close_timeout=task.start_to_close_timeout,
        schedule_to_close_timeout=task.schedule_to_close_timeout,
        heartbeat_timeout=task.heartbeat_timeout,
        retry_policy=task.retry_policy,
        priority=task.priority,
        headers=task.header,
        task_token=task.token.encode(),
    )


def local_info_of(
    task: WorkflowTask, activity: LocalActivity, attempt: int, *, namespace: str, task_queue: str
) -> Info:
    """The info of an attempt of a local activity; the worker's own clock says when."""
    now = datetime.now(UTC)
    return Info(
        activity_id=activity.activity_id,
        activity_type=activity.activity_type,
        attempt=attempt,
        task_queue=task_queue,
        workflow_id=task.workflow_id,
        workflow_run_id=task.run_id,
        workflow_type=task.workflow_type,
        workflow_namespace=namespace,
        scheduled_time=now,
        current_attempt_scheduled_time=now,
        started_time=now,
        start_to_close_timeout=activity.start_to_close_timeout,
        schedule_to_close_timeout=activity.schedule_to_close_timeout,
        retry_policy=activity.retry_policy,
        is_local=True,
        headers=activity.headers or {},
    )
