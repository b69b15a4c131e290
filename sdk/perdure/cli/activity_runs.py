"""`perdure activity start | execute | result | list | count | describe | cancel | terminate`: without a workflow."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from perdure.cli.chain_options import attempt_fields, attempt_options
from perdure.cli.claim_options import claim_options
from perdure.cli.concurrency_options import concurrency_fields, concurrency_options
from perdure.cli.exits import CommandError, Exit
from perdure.cli.failure_text import failure_line
from perdure.cli.inputs import input_options
from perdure.cli.output import compact, fields, instant, json_text, table
from perdure.cli.session import Session, asks_service
from perdure.cli.settings import DURATION, SETTINGS, Decorated, option, options
from perdure.cli.workflow_views import STATUS_STYLE, asked_to_stop, pending_activity
from perdure_proto import service as svc

_PAGE_MAX = 500
_OPEN = frozenset({"RUNNING", "PAUSED"})
_identity_option = option(SETTINGS["identity"])


def start_options(function: Decorated) -> Decorated:
    """Everything that can be said about an activity when it starts."""
    function = options(SETTINGS["task_queue"], SETTINGS["identity"])(function)
    for decorate in (
        click.option("--summary", default="", help="One line about this activity."),
        claim_options("activity"),
        attempt_options,
        concurrency_options("activities"),
        click.option("--heartbeat-timeout", type=DURATION, help="Longest gap between two heartbeats."),
        click.option("--schedule-to-start-timeout", type=DURATION, help="Limit of the wait for a worker."),
        click.option("--schedule-to-close-timeout", type=DURATION, help="Limit of all attempts together."),
        click.option("--start-to-close-timeout", type=DURATION, help="Limit of one attempt; by default a minute."),
    ):
        function = decorate(function)
    function = input_options(function)
    function = click.option("--id", "activity_id", default="", help="The activity id; by default a UUID.")(function)
    return click.argument("activity_type", metavar="TYPE")(function)


def to_activity_run(function: Decorated) -> Decorated:
    """The standalone activity that is meant."""
    function = click.option("--run-id", default="", help="The run; by default the latest.")(function)
    return click.argument("activity_id", metavar="ID")(function)


@click.command()
@start_options
@asks_service
async def start(session: Session, /, **values: Any) -> None:
    """Start an activity without a workflow and say its ids."""
    answer = await _start(session, values)
    verb = "started" if answer.started else "already started"
    session.output.result(answer, Text(f"{verb}: activity id {answer.activity_id}, run id {answer.run_id}"))


@click.command()
@start_options
@asks_service
async def execute(session: Session, /, **values: Any) -> None:
    """Start an activity without a workflow, wait for it, and print its result."""
    answer = await _start(session, values)
    await _print_result(session, answer.activity_id, answer.run_id)


@click.command()
@to_activity_run
@asks_service
async def result(session: Session, /, activity_id: str, run_id: str) -> None:
    """Wait for a standalone activity and print its result."""
    await _print_result(session, activity_id, run_id)


@click.command("list")
@click.option("--query", default="", help="A list filter, such as: ActivityType = 'charge'.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@asks_service
async def list_activities(session: Session, /, query: str, limit: int) -> None:
    """List standalone activities, the newest first."""
    found: list[svc.ActivityExecutionInfo] = []
    cursor = ""
    while len(found) < limit:
        answer = await session.service.list_activities(query, limit=min(limit - len(found), _PAGE_MAX), cursor=cursor)
        found += answer.executions
        cursor = answer.next_cursor
        if not cursor:
            break
    session.output.rows(found, _executions(found))


@click.command()
@click.option("--query", default="", help="A list filter.")
@asks_service
async def count(session: Session, /, query: str) -> None:
    """Count standalone activities."""
    answer = await session.service.count_activities(query)
    session.output.result(answer, Text(str(answer.count)))


@click.command()
@to_activity_run
@asks_service
async def describe(session: Session, /, activity_id: str, run_id: str) -> None:
    """Say how a standalone activity stands: its attempt, its last failure."""
    answer = await session.service.describe_activity(activity_id, run_id)
    session.output.result(answer, Lines(*_description(answer)))


@click.command()
@to_activity_run
@click.option("--reason", default="", help="Why; the activity sees it.")
@_identity_option
@asks_service
async def cancel(session: Session, /, activity_id: str, run_id: str, reason: str, identity: str | None) -> None:
    """Ask a standalone activity to stop."""
    request = svc.CancelWorkflowRequest(
        run_id=run_id, reason=reason, request_id=str(uuid.uuid4()), identity=identity or session.service.identity
    )
    answer = await session.service.cancel_activity(activity_id, request)
    session.output.result(answer, Text(f"cancellation requested: {activity_id}"))


@click.command()
@to_activity_run
@click.option("--reason", default="", help="Why; it stays in the history.")
@_identity_option
@asks_service
async def terminate(session: Session, /, activity_id: str, run_id: str, reason: str, identity: str | None) -> None:
    """End a standalone activity at once."""
    request = svc.TerminateWorkflowRequest(run_id=run_id, reason=reason, identity=identity or session.service.identity)
    answer = await session.service.terminate_activity(activity_id, request)
    session.output.result(answer, Text(f"terminated: {activity_id}"))


COMMANDS = (start, execute, result, list_activities, count, describe, cancel, terminate)


async def _start(session: Session, values: dict[str, Any]) -> svc.StartActivityAnswer:
    request = svc.StartActivityRequest(
        activity_type=values["activity_type"],
        task_queue=values["task_queue"],
        input=values["inputs"],
        kwargs=values["kwargs"],
        request_id=values["request_id"] or str(uuid.uuid4()),
        identity=values["identity"] or session.service.identity,
        start_to_close_timeout=values["start_to_close_timeout"],
        schedule_to_close_timeout=values["schedule_to_close_timeout"],
        schedule_to_start_timeout=values["schedule_to_start_timeout"],
        heartbeat_timeout=values["heartbeat_timeout"],
        id_reuse_policy=values["id_reuse_policy"],
        id_conflict_policy=values["id_conflict_policy"],
        memo=values["memo"],
        search_attributes=values["search_attributes"],
        static_summary=values["summary"],
        **concurrency_fields(values),
        **attempt_fields(values),
    )
    return await session.service.start_activity(values["activity_id"] or str(uuid.uuid4()), request)


async def _print_result(session: Session, activity_id: str, run_id: str) -> None:
    """The result on stdout; an activity that did not complete is an error."""
    answer = await session.service.activity_result(activity_id, run_id)
    while answer.status in _OPEN:
        answer = await session.service.activity_result(activity_id, run_id)
    if answer.status == "COMPLETED":
        session.output.result(answer, Text(json_text(answer.result, answer.encoding)))
        return
    if not session.output.is_text:
        session.output.line(answer)
    why = failure_line(answer.failure) if answer.failure else answer.status.lower().replace("_", " ")
    raise CommandError(Exit.NOT_DONE, f"ACTIVITY_{answer.status}", f"{activity_id}: {why}")


def _executions(found: list[svc.ActivityExecutionInfo]) -> Table:
    made = table("STATUS", "ACTIVITY ID", "TYPE", "TASK QUEUE", "STARTED", "CLOSED")
    for info in found:
        status = Text(info.status, style=STATUS_STYLE.get(info.status, ""))
        times = (instant(info.start_time), instant(info.close_time))
        made.add_row(status, Text(info.activity_id), Text(info.activity_type), Text(info.task_queue), *times)
    return made


def _description(answer: svc.DescribeActivityAnswer) -> Iterator[RenderableType]:
    info = answer.execution
    yield fields(
        [
            ("activity", info.activity_id),
            ("run", info.run_id),
            ("type", info.activity_type),
            ("status", Text(info.status, style=STATUS_STYLE.get(info.status, ""))),
            ("task queue", info.task_queue),
            ("summary", answer.static_summary),
            ("started", instant(info.start_time)),
            ("closed", instant(info.close_time)),
            ("memo", compact(info.memo) if info.memo else ""),
            ("search attributes", compact(info.search_attributes) if info.search_attributes else ""),
            ("cancel requested", asked_to_stop(answer)),
        ]
    )
    if answer.pending is not None:
        yield Text("\npending", style="bold")
        yield pending_activity(answer.pending)
