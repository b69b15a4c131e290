"""`perdure workflow list | count | describe | show`: looking at executions without changing them."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from perdure.cli.failure_text import failure_line
from perdure.cli.output import compact, fields, instant, table
from perdure.cli.session import Session, asks_service
from perdure.cli.timeline import Timeline
from perdure.cli.workflow_waitpoints import pending_waitpoints
from perdure_proto.durations import format_duration
from perdure_proto.events import AnyEvent
from perdure_proto.service import (
    CountWorkflowsAnswer,
    DescribeActivityAnswer,
    DescribeWorkflowAnswer,
    PauseInfo,
    PendingActivity,
    PendingChild,
    PendingWorkflowTask,
    WorkflowExecutionInfo,
)

STATUS_STYLE = {
    "COMPLETED": "green",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "TERMINATED": "red",
    "CANCELED": "yellow",
    "PAUSED": "yellow",
}


@click.command("list")
@click.option("--query", default="", help="A list filter, such as: WorkflowType = 'order'.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@asks_service
async def list_workflows(session: Session, /, query: str, limit: int) -> None:
    """List executions, the newest first."""
    found = await session.service.executions(query, limit)
    session.output.rows(found, _executions(found))


@click.command()
@click.option("--query", default="", help="A list filter.")
@asks_service
async def count(session: Session, /, query: str) -> None:
    """Count executions."""
    answer = await session.service.count_workflows(query)
    session.output.result(answer, _counts(answer))


@click.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--run-id", default="", help="The run; by default the latest.")
@asks_service
async def describe(session: Session, /, workflow_id: str, run_id: str) -> None:
    """Say how an execution stands: what it waits for, what fails, what nobody takes."""
    answer = await session.service.describe(workflow_id, run_id)
    waiting = await pending_waitpoints(session, answer) if session.output.is_text else ()
    session.output.result(answer, Lines(*_description(answer), *waiting))


@click.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--run-id", default="", help="The run; by default the latest.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until the run closes.")
@asks_service
async def show(session: Session, /, workflow_id: str, run_id: str, follow: bool) -> None:
    """Print the history as a timeline."""
    timeline, events = Timeline(), list[AnyEvent]()
    async for event in session.service.events(workflow_id, run_id, follow=follow):
        if session.output.is_text:
            session.output.text(timeline.line(event))
        elif session.output.format == "jsonl":
            session.output.line(event)
        else:
            events.append(event)
    if session.output.format == "json":
        session.output.line(events)


def _executions(found: list[WorkflowExecutionInfo]) -> Table:
    made = table("STATUS", "WORKFLOW ID", "TYPE", "TASK QUEUE", "STARTED", "CLOSED")
    for info in found:
        status = Text(info.status, style=STATUS_STYLE.get(info.status, ""))
        times = (instant(info.start_time), instant(info.close_time))
        made.add_row(status, Text(info.workflow_id), Text(info.workflow_type), Text(info.task_queue), *times)
    return made


def _counts(answer: CountWorkflowsAnswer) -> RenderableType:
    if not answer.groups:
        return Text(str(answer.count))
    return fields([(name, str(number)) for name, number in answer.groups.items()] + [("total", str(answer.count))])


def _description(answer: DescribeWorkflowAnswer) -> Iterator[RenderableType]:
    info = answer.execution
    yield fields(
        [
            ("workflow id", info.workflow_id),
            ("run id", info.run_id),
            ("type", info.workflow_type),
            ("status", Text(info.status, style=STATUS_STYLE.get(info.status, ""))),
            ("task queue", info.task_queue),
            ("summary", answer.static_summary),
            ("details", answer.static_details),
            ("current details", answer.current_details),
            ("started", instant(info.start_time)),
            ("cron schedule", answer.cron_schedule),
            ("begins", instant(answer.execution_time) if _waits(answer) else ""),
            ("closed", instant(info.close_time)),
            ("attempt", str(answer.attempt) if answer.attempt > 1 else ""),
            ("first run", answer.first_execution_run_id if answer.first_execution_run_id != info.run_id else ""),
            ("run before", answer.continued_run_id),
            ("failed before", Text(failure_line(answer.last_failure) if answer.last_failure else "", style="red")),
            ("next run", answer.new_run_id),
            ("reset to run", answer.reset_run_id),
            ("events", str(info.history_length)),
            ("memo", compact(info.memo) if info.memo else ""),
            ("search attributes", compact(info.search_attributes) if info.search_attributes else ""),
            ("run timeout", format_duration(answer.workflow_run_timeout) if answer.workflow_run_timeout else ""),
            ("run expires", instant(answer.run_expiration_time)),
            ("chain expires", instant(answer.execution_expiration_time)),
            ("paused", _pause(answer.pause) if answer.pause else ""),
            ("cancel requested", asked_to_stop(answer)),
            ("parent", answer.parent_workflow_id),
            ("messages under way", str(answer.pending_messages or "")),
            ("pending timers", str(answer.pending_timers or "")),
            ("updates in flight", str(answer.updates_in_flight or "")),
            ("cached by", answer.sticky_worker),
        ]
    )
    if answer.pending_workflow_task:
        yield Text("\npending workflow task", style="bold")
        yield _workflow_task(answer.pending_workflow_task)
    for activity in answer.pending_activities:
        yield Text(f"\npending activity {activity.activity_type}", style="bold")
        yield pending_activity(activity)
    for child in answer.pending_children:
        yield Text(f"\npending child {child.workflow_type}", style="bold")
        yield _child(child)


def asked_to_stop(answer: DescribeWorkflowAnswer | DescribeActivityAnswer) -> str:
    """Whether somebody did, and why; empty where nobody did."""
    if not answer.cancel_requested:
        return ""
    return f"yes: {answer.cancel_reason}" if answer.cancel_reason else "yes"


def _waits(answer: DescribeWorkflowAnswer) -> bool:
    """Whether its first task came, or is to come, later than its start."""
    return answer.execution_time is not None and answer.execution_time > answer.execution.start_time


def _pause(pause: PauseInfo) -> str:
    by = f" by {pause.identity}" if pause.identity else ""
    return f"since {instant(pause.paused_at)}{by}{f': {pause.reason}' if pause.reason else ''}"


def _workflow_task(task: PendingWorkflowTask) -> Table:
    why = failure_line(task.last_failure) if task.last_failure else ""
    return fields(
        [
            ("  state", task.state),
            ("  attempt", str(task.attempt)),
            ("  scheduled", instant(task.scheduled_time)),
            ("  started", instant(task.started_time)),
            ("  next attempt", instant(task.next_attempt_time)),
            ("  last failure", Text(" ".join(filter(None, (task.last_failure_cause, why))), style="red")),
            ("  note", Text(task.note, style="yellow")),
        ]
    )


def _child(child: PendingChild) -> Table:
    return fields(
        [
            ("  id", child.workflow_id),
            ("  run", child.run_id or "starting"),
            ("  namespace", child.namespace),
            ("  if the parent closes", child.parent_close_policy),
        ]
    )


def pending_activity(activity: PendingActivity) -> Table:
    """An activity that has not closed: its attempt, its last failure, who had it."""
    limit = f" of {activity.maximum_attempts}" if activity.maximum_attempts else ""
    return fields(
        [
            ("  id", activity.activity_id),
            ("  state", activity.state),
            ("  attempt", f"{activity.attempt}{limit}"),
            ("  task queue", activity.task_queue),
            ("  scheduled", instant(activity.scheduled_time)),
            ("  last started", instant(activity.last_started_time)),
            ("  last heartbeat", instant(activity.last_heartbeat_time)),
            ("  paused", _pause(activity.pause) if activity.pause else ""),
            ("  next attempt", instant(activity.next_attempt_time)),
            ("  expires", instant(activity.expiration_time)),
            ("  worker", activity.last_worker_identity),
            ("  completed by", "the commit of its transaction" if activity.transactional else ""),
            ("  last failure", Text(failure_line(activity.last_failure) if activity.last_failure else "", style="red")),
            ("  note", Text(activity.note, style="yellow")),
        ]
    )
