"""Events: for each type, where its fields stand among Temporal's attributes.

A field that has no entry is perdure's own and is carried under its own name; a test lists them all. `userMetadata`,
`eventId` and `eventTime` stand beside the attributes in the file, and are merged with them here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from perdure_proto import events as ev
from perdure_proto.events import Event
from perdure_proto.temporal_json import entry as e
from perdure_proto.temporal_json import enumerations as enums
from perdure_proto.temporal_json import notation as n
from perdure_proto.temporal_json.failure import FAILURE, PRIORITY, RETRY_POLICY, RETRY_STATE
from perdure_proto.temporal_json.message import Entry, Message

ENVELOPE: Final[tuple[str, ...]] = ("eventId", "eventTime", "userMetadata")
"""What stands beside the attributes, not in them."""


def event(type_: type[Event], *entries: Entry | list[Entry]) -> tuple[type[Event], Message[Any]]:
    """The table of one event type."""
    return type_, Message(type_, e.int64("event_id"), e.at("event_time", n.INSTANT), *entries)


COMPLETED_ID = e.int64("workflow_task_completed_event_id")
EXECUTION = e.execution("workflow_id", "run_id", "workflowExecution")
FAILED = e.nested("failure", lambda: FAILURE)
RETRIES = e.nested("retry_policy", lambda: RETRY_POLICY)
RANK = e.nested("priority", lambda: PRIORITY)
INITIATOR = e.at("initiator", enums.INITIATOR)
TARGET = [e.text("namespace"), *EXECUTION]
CHILD = [*TARGET, e.named("workflow_type"), *e.int64("initiated_event_id", "started_event_id")]
ACTIVITY_IDS = e.int64("scheduled_event_id", "started_event_id")

RUNS = (
    event(
        ev.WorkflowExecutionStarted,
        e.texts("workflow_id", "identity", "cron_schedule"),
        e.named("workflow_type"),
        e.task_queue(),
        e.arguments(),
        e.timeouts("workflow_execution_timeout", "workflow_run_timeout"),
        e.at("workflow_task_timeout", n.DURATION),
        e.at("workflow_execution_expiration_time", n.INSTANT),
        e.texts("original_execution_run_id", "first_execution_run_id", "continued_execution_run_id"),
        INITIATOR,
        e.nested("continued_failure", lambda: FAILURE),
        e.last_result(),
        RETRIES,
        e.int32("attempt"),
        e.at("first_workflow_task_backoff", n.DURATION),
        e.text("parent_workflow_namespace"),
        e.execution("parent_workflow_id", "parent_run_id", "parentWorkflowExecution"),
        e.int64("parent_initiated_event_id"),
        [e.memo(), e.search_attributes(), e.header(), RANK],
        e.summary("static_summary", "summary"),
        e.summary("static_details", "details"),
    ),
    event(ev.WorkflowExecutionCompleted, e.result(), COMPLETED_ID, e.text("new_execution_run_id")),
    event(ev.WorkflowExecutionFailed, FAILED, RETRY_STATE, COMPLETED_ID, e.text("new_execution_run_id")),
    event(ev.WorkflowExecutionTimedOut, RETRY_STATE, e.text("new_execution_run_id")),
    event(
        ev.WorkflowExecutionCancelRequested,
        e.texts("cause", "identity"),
        e.int64("external_initiated_event_id"),
        e.execution("external_workflow_id", "external_run_id", "externalWorkflowExecution"),
    ),
    event(ev.WorkflowExecutionCanceled, COMPLETED_ID, e.details()),
    event(
        ev.WorkflowExecutionSignaled,
        e.texts("signal_name", "identity"),
        e.arguments(),
        e.header(),
        e.execution("external_workflow_id", "external_run_id", "externalWorkflowExecution"),
    ),
    event(ev.WorkflowExecutionTerminated, e.texts("reason", "identity"), e.details()),
    event(
        ev.WorkflowExecutionContinuedAsNew,
        e.text("new_execution_run_id"),
        e.named("workflow_type"),
        e.task_queue(),
        e.arguments(),
        e.timeouts("workflow_run_timeout", "workflow_task_timeout"),
        e.at("backoff_start_interval", n.DURATION),
        INITIATOR,
        FAILED,
        e.single("last_completion_result"),
        [e.header(), e.memo(), e.search_attributes()],
        COMPLETED_ID,
    ),
    event(ev.UpsertWorkflowSearchAttributes, COMPLETED_ID, e.search_attributes()),
    event(ev.WorkflowPropertiesModified, COMPLETED_ID, e.mapping("upserted_memo", "fields")),
    event(ev.WorkflowExecutionOptionsUpdated, e.texts("attached_request_id", "identity")),
    event(ev.WorkflowExecutionPaused, e.texts("identity", "reason", "request_id")),
    event(ev.WorkflowExecutionUnpaused, e.texts("identity", "reason", "request_id")),
)

WORKFLOW_TASKS = (
    event(
        ev.WorkflowTaskScheduled,
        # The queue that all workers share: that of one worker, which `name` is then, dies with it.
        e.text("task_queue", "taskQueue", "name"),
        e.at("sticky", enums.TASK_QUEUE_KIND, "taskQueue", "kind"),
        e.normal_name(),
        e.at("start_to_close_timeout", n.DURATION),
        e.int32("attempt"),
    ),
    event(
        ev.WorkflowTaskStarted,
        e.int64("scheduled_event_id", "history_size_bytes"),
        e.texts("identity", "request_id"),
        e.flag("suggest_continue_as_new"),
        e.build_id(),
    ),
    event(
        ev.WorkflowTaskCompleted,
        ACTIVITY_IDS,
        e.summary("current_details", "details", unsaid=None),
        e.text("identity"),
        e.build_id("binaryChecksum"),
        e.at("sdk_metadata", n.OBJECT),
    ),
    event(ev.WorkflowTaskTimedOut, ACTIVITY_IDS, e.at("timeout_type", enums.TIMEOUT_TYPE)),
    event(
        ev.WorkflowTaskFailed,
        ACTIVITY_IDS,
        e.at("cause", enums.WORKFLOW_TASK_FAILED_CAUSE),
        FAILED,
        e.texts("identity", "base_run_id", "new_run_id"),
        e.build_id("binaryChecksum"),
        e.int64("fork_event_version"),
    ),
    event(ev.MarkerRecorded, e.text("marker_name"), e.marker_details(), FAILED, e.header(), COMPLETED_ID),
)

ACTIVITIES = (
    event(
        ev.ActivityTaskScheduled,
        e.text("activity_id"),
        e.named("activity_type"),
        e.task_queue(),
        e.arguments(),
        e.timeouts("schedule_to_close_timeout", "schedule_to_start_timeout"),
        e.timeouts("start_to_close_timeout", "heartbeat_timeout"),
        [RETRIES, RANK, e.header(), e.summary("summary", "summary")],
        COMPLETED_ID,
    ),
    event(
        ev.ActivityTaskStarted,
        e.int64("scheduled_event_id"),
        e.texts("identity", "request_id"),
        e.int32("attempt"),
        e.nested("last_failure", lambda: FAILURE),
        e.build_id(),
    ),
    event(ev.ActivityTaskCompleted, ACTIVITY_IDS, e.text("identity"), e.result()),
    event(ev.ActivityTaskFailed, ACTIVITY_IDS, e.text("identity"), FAILED, RETRY_STATE),
    event(ev.ActivityTaskTimedOut, ACTIVITY_IDS, FAILED, RETRY_STATE),
    event(ev.ActivityTaskCancelRequested, e.int64("scheduled_event_id"), COMPLETED_ID),
    event(
        ev.ActivityTaskCanceled,
        ACTIVITY_IDS,
        e.int64("latest_cancel_requested_event_id"),
        e.text("identity"),
        e.details(),
    ),
)

TIMERS = (
    event(
        ev.TimerStarted,
        e.text("timer_id"),
        e.at("start_to_fire_timeout", n.DURATION),
        e.summary("summary", "summary"),
        COMPLETED_ID,
    ),
    event(ev.TimerFired, e.text("timer_id"), e.int64("started_event_id")),
    event(ev.TimerCanceled, e.texts("timer_id", "identity"), e.int64("started_event_id"), COMPLETED_ID),
)

CHILDREN = (
    event(
        ev.StartChildWorkflowExecutionInitiated,
        e.texts("namespace", "workflow_id", "cron_schedule"),
        e.named("workflow_type"),
        e.task_queue(),
        e.arguments(),
        e.timeouts("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout"),
        e.at("parent_close_policy", enums.PARENT_CLOSE_POLICY),
        e.at("workflow_id_reuse_policy", enums.ID_REUSE_POLICY),
        [RETRIES, RANK, e.header(), e.memo(), e.search_attributes()],
        [e.summary("summary", "summary"), e.summary("static_details", "details")],
        COMPLETED_ID,
    ),
    event(
        ev.StartChildWorkflowExecutionFailed,
        e.texts("namespace", "workflow_id"),
        e.named("workflow_type"),
        e.at("cause", enums.START_CHILD_FAILED_CAUSE),
        e.int64("initiated_event_id"),
        COMPLETED_ID,
    ),
    event(
        ev.ChildWorkflowExecutionStarted,
        TARGET,
        e.named("workflow_type"),
        e.int64("initiated_event_id"),
        e.header(),
    ),
    event(ev.ChildWorkflowExecutionCompleted, CHILD, e.result()),
    event(ev.ChildWorkflowExecutionFailed, CHILD, FAILED, RETRY_STATE),
    event(ev.ChildWorkflowExecutionCanceled, CHILD, e.details()),
    event(ev.ChildWorkflowExecutionTimedOut, CHILD, RETRY_STATE),
    event(ev.ChildWorkflowExecutionTerminated, CHILD),
)

OTHERS = (
    event(
        ev.RequestCancelExternalWorkflowExecutionInitiated,
        COMPLETED_ID,
        TARGET,
        e.flag("child_workflow_only"),
        e.text("reason"),
    ),
    event(
        ev.RequestCancelExternalWorkflowExecutionFailed,
        e.at("cause", enums.CANCEL_EXTERNAL_FAILED_CAUSE),
        COMPLETED_ID,
        e.int64("initiated_event_id"),
        TARGET,
    ),
    event(ev.ExternalWorkflowExecutionCancelRequested, e.int64("initiated_event_id"), TARGET),
    event(
        ev.SignalExternalWorkflowExecutionInitiated,
        COMPLETED_ID,
        TARGET,
        e.text("signal_name"),
        e.arguments(),
        e.flag("child_workflow_only"),
        e.header(),
    ),
    event(
        ev.SignalExternalWorkflowExecutionFailed,
        e.at("cause", enums.SIGNAL_EXTERNAL_FAILED_CAUSE),
        COMPLETED_ID,
        e.int64("initiated_event_id"),
        TARGET,
    ),
    event(ev.ExternalWorkflowExecutionSignaled, e.int64("initiated_event_id"), TARGET),
)

UPDATES = (
    event(
        ev.WorkflowExecutionUpdateAccepted,
        e.text("update_id", "protocolInstanceId"),
        e.request_message_id(),
        e.int64("accepted_request_sequencing_event_id"),
        e.update_request("acceptedRequest"),
    ),
    event(
        ev.WorkflowExecutionUpdateCompleted,
        e.text("update_id", "meta", "updateId"),
        e.text("identity", "meta", "identity"),
        e.int64("accepted_event_id"),
        e.result("result", "outcome", "success", unless="failure"),
        e.nested("failure", lambda: FAILURE, "outcome", "failure"),
    ),
    event(ev.WorkflowExecutionUpdateAdmitted, e.update_request("request")),
)

EVENTS: Final = MappingProxyType(dict([*RUNS, *WORKFLOW_TASKS, *ACTIVITIES, *TIMERS, *CHILDREN, *OTHERS, *UPDATES]))
"""The table of each event type."""
