"""`perdure activity`, and its `complete | fail | heartbeat | report-cancellation`: ending one from elsewhere."""

from __future__ import annotations

from typing import Any

import click
from msgspec import Raw
from rich.text import Text

from perdure.cli.activity_control import COMMANDS as CONTROLS
from perdure.cli.activity_runs import COMMANDS as RUNS
from perdure.cli.exits import usage_error
from perdure.cli.groups import Group
from perdure.cli.inputs import json_option, read_details, read_json
from perdure.cli.session import Session, asks_service
from perdure.cli.settings import SETTINGS, Decorated, option
from perdure_proto.async_activities import (
    CompleteActivityRequest,
    FailActivityRequest,
    HeartbeatActivityRequest,
    ReportActivityCancellationRequest,
)
from perdure_proto.failures import ApplicationFailure, Failure

_ADDRESS = ("task_token", "workflow_id", "run_id", "activity_id", "identity")

activity: Group = Group(
    name="activity",
    help="Run activities without a workflow; hold, change and end those of workflows.",
)
for _command in (*RUNS, *CONTROLS):
    activity.add_command(_command)


def to_activity(function: Decorated) -> Decorated:
    """The activity that is meant."""
    function = option(SETTINGS["identity"])(function)
    for flag, text in (
        ("--task-token", "The token of the attempt: `activity.info().task_token`. Instead of the ids."),
        ("--run-id", "The run; by default the latest."),
        ("--workflow-id", "The workflow of the activity; none for an activity without a workflow."),
        ("--activity-id", "The activity."),
    ):
        function = click.option(flag, default="", help=text)(function)
    return function


@activity.command()
@to_activity
@json_option("--result", read_json, "What the activity returns: JSON, @FILE or @-; by default null.")
@asks_service
async def complete(session: Session, /, *, result: Raw, **values: Any) -> None:
    """Complete an activity."""
    request = CompleteActivityRequest(**_address(session, values), result=result)
    session.output.result(await session.service.complete_activity(request), Text("completed"))


@activity.command()
@to_activity
@click.option("--reason", default="", help="Why it failed.")
@json_option("--detail", read_details, "Details of the failure: JSON, @FILE or @-.")
@click.option("--type", "kind", default="", help="The type of the error, as retry policies name it.")
@click.option("--non-retryable", is_flag=True, help="There is to be no other attempt.")
@asks_service
async def fail(session: Session, /, *, reason: str, detail: Raw, kind: str, non_retryable: bool, **values: Any) -> None:
    """Fail an attempt of an activity; its retry policy says whether there is another."""
    info = ApplicationFailure(type=kind, non_retryable=non_retryable, details=detail)
    request = FailActivityRequest(**_address(session, values), failure=Failure(message=reason, info=info))
    session.output.result(await session.service.fail_activity(request), Text("failed"))


@activity.command()
@to_activity
@json_option("--detail", read_details, "What the next attempt finds: JSON, @FILE or @-.")
@asks_service
async def heartbeat(session: Session, /, *, detail: Raw, **values: Any) -> None:
    """Say that an attempt goes on, and hear whether it is to stop."""
    request = HeartbeatActivityRequest(**_address(session, values), details=detail)
    answer = await session.service.heartbeat_activity(request)
    told = "cancellation requested" if answer.cancel_requested else "goes on"
    session.output.result({"cancel_requested": answer.cancel_requested}, Text(told))


@activity.command("report-cancellation")
@to_activity
@json_option("--detail", read_details, "Details for the workflow: JSON, @FILE or @-.")
@asks_service
async def report_cancellation(session: Session, /, *, detail: Raw, **values: Any) -> None:
    """Say that an activity has stopped because it was asked to."""
    request = ReportActivityCancellationRequest(**_address(session, values), details=detail)
    session.output.result(await session.service.report_activity_cancellation(request), Text("cancelled"))


def _address(session: Session, values: dict[str, Any]) -> dict[str, Any]:
    """The activity that the options name: by its token alone, or by its ids."""
    found = {name: values[name] or "" for name in _ADDRESS}
    found["identity"] = found["identity"] or session.service.identity
    ids = found["workflow_id"], found["run_id"], found["activity_id"]
    if found["task_token"] and any(ids):
        raise usage_error("give --task-token alone, or --activity-id and, for one of a workflow, --workflow-id")
    if not found["task_token"] and not found["activity_id"]:
        raise usage_error("give --activity-id and, for one of a workflow, --workflow-id; or --task-token")
    return found
