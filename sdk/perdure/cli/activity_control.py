"""`perdure activity pause | unpause | reset | update-options`: what is done to one pending activity of a workflow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click
from rich.text import Text

from perdure.cli.exits import usage_error
from perdure.cli.session import Session, asks_service
from perdure.cli.settings import DURATION, SETTINGS, Decorated, option
from perdure_proto.options import RetryPolicy
from perdure_proto.service import (
    Message,
    PauseActivityRequest,
    ResetActivityRequest,
    UnpauseActivityRequest,
    UpdateActivityOptionsRequest,
)

_RETRIES = ("initial_interval", "backoff_coefficient", "maximum_interval", "maximum_attempts")
_TIMEOUTS = ("schedule_to_close_timeout", "schedule_to_start_timeout", "start_to_close_timeout", "heartbeat_timeout")


def _of_workflow(function: Decorated) -> Decorated:
    """Which activity is meant."""
    function = click.option("--run-id", default="", help="The run; by default the latest.")(function)
    function = click.argument("activity_id", metavar="ACTIVITY_ID")(function)
    return click.argument("workflow_id", metavar="ID")(function)


_jitter = click.option(
    "--jitter", type=DURATION, default=timedelta(0), help="Go on after a random part of this, such as 30s."
)
_reset_heartbeat = click.option("--reset-heartbeat", is_flag=True, help="Forget the details of its heartbeats.")


@click.command()
@_of_workflow
@click.option("--reason", default="", help="Why.")
@option(SETTINGS["identity"])
@asks_service
async def pause(session: Session, /, workflow_id: str, activity_id: str, **values: Any) -> None:
    """Hand an activity out no more; one that heartbeats is told."""
    values["identity"] = values["identity"] or session.service.identity
    await _control(session, (workflow_id, activity_id, "pause"), PauseActivityRequest(**values))


@click.command()
@_of_workflow
@click.option("--reset-attempts", is_flag=True, help="Count attempts from 1 again.")
@_reset_heartbeat
@_jitter
@asks_service
async def unpause(session: Session, /, workflow_id: str, activity_id: str, **values: Any) -> None:
    """Let a paused activity go on."""
    await _control(session, (workflow_id, activity_id, "unpause"), UnpauseActivityRequest(**values))


@click.command()
@_of_workflow
@click.option("--keep-paused", is_flag=True, help="Leave a pause as it is.")
@_reset_heartbeat
@click.option("--restore-options", is_flag=True, help="Give it the options back with which it was scheduled.")
@_jitter
@asks_service
async def reset(session: Session, /, workflow_id: str, activity_id: str, **values: Any) -> None:
    """Begin an activity anew: attempt 1, its whole time."""
    await _control(session, (workflow_id, activity_id, "reset"), ResetActivityRequest(**values))


@click.command("update-options")
@_of_workflow
@click.option("--task-queue", default="", help="Where its next attempt goes.")
@click.option("--schedule-to-close-timeout", type=DURATION, help="For all attempts.")
@click.option("--schedule-to-start-timeout", type=DURATION, help="For waiting in the queue.")
@click.option("--start-to-close-timeout", type=DURATION, help="For one attempt.")
@click.option("--heartbeat-timeout", type=DURATION, help="Between two heartbeats.")
@click.option("--initial-interval", type=DURATION, help="Before the first retry. The policy is replaced as a whole.")
@click.option("--backoff-coefficient", type=float, help="By how much each delay is longer.")
@click.option("--maximum-interval", type=DURATION, help="The longest delay.")
@click.option("--maximum-attempts", type=click.IntRange(0), help="0: without a limit.")
@click.option("--restore-original", is_flag=True, help="In place of all others: as it was scheduled.")
@asks_service
async def update_options(session: Session, /, workflow_id: str, activity_id: str, **values: Any) -> None:
    """Change timeouts, retries or queue of an activity."""
    policy = {name: values[name] for name in _RETRIES if values[name] is not None}
    request = UpdateActivityOptionsRequest(
        run_id=values["run_id"],
        task_queue=values["task_queue"],
        retry_policy=RetryPolicy(**policy) if policy else None,
        restore_original=values["restore_original"],
        **{name: values[name] for name in _TIMEOUTS},
    )
    if request == UpdateActivityOptionsRequest(run_id=values["run_id"]):
        raise usage_error("say which options change, or --restore-original")
    await _control(session, (workflow_id, activity_id, "update-options"), request)


COMMANDS = (pause, unpause, reset, update_options)
_SAID = {
    "pause": "paused activity {} of {}",
    "unpause": "activity {} of {} goes on",
    "reset": "reset activity {} of {}",
    "update-options": "changed activity {} of {}",
}


async def _control(session: Session, at: tuple[str, str, str], request: Message) -> None:
    workflow_id, activity_id, verb = at
    answer = await session.service.control_activity(workflow_id, activity_id, verb, request)
    session.output.result(answer, Text(_SAID[verb].format(activity_id, workflow_id)))
