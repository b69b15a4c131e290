"""Requests about an activity that is completed from elsewhere, and their answers.

Each names the attempt by the task token that its code was given, or the activity by its id and, for one of a workflow,
the workflow's.
"""

from __future__ import annotations

from msgspec import Raw, Struct

from perdure_proto.failures import Failure
from perdure_proto.payload import NULL


class OnActivityRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Which activity: `task_token` alone, or `activity_id` with the `workflow_id` of its workflow.

    A standalone activity has no `workflow_id`. Without `run_id`: of the current run.
    """

    task_token: str = ""
    workflow_id: str = ""
    run_id: str = ""
    activity_id: str = ""
    identity: str = ""


class CompleteActivityRequest(OnActivityRequest, frozen=True, kw_only=True):
    """`POST …/activity-tasks/complete`: the activity returned this."""

    result: Raw = NULL
    encoding: str = ""


class FailActivityRequest(OnActivityRequest, frozen=True, kw_only=True):
    """`POST …/activity-tasks/fail`: the attempt failed; the retry policy says what follows.

    `heartbeat_details` (a JSON array), where given, are what the next attempt finds.
    """

    failure: Failure
    heartbeat_details: Raw = NULL
    encoding: str = ""


class ReportActivityCancellationRequest(OnActivityRequest, frozen=True, kw_only=True):
    """`POST …/activity-tasks/cancel`: the activity stopped because it was asked to. `details` is a JSON array."""

    details: Raw = NULL
    encoding: str = ""


class HeartbeatActivityRequest(OnActivityRequest, frozen=True, kw_only=True):
    """`POST …/activity-tasks/heartbeat`: the attempt goes on. `details` is a JSON array for the next attempt."""

    details: Raw = NULL
    encoding: str = ""


class HeartbeatActivityAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`cancel_requested`: the activity is asked to stop; `…/activity-tasks/cancel` says that it has."""

    cancel_requested: bool = False
