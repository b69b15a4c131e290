"""`perdure workflow reset | reopen`: an execution goes on from an earlier point, or after a bug was repaired."""

from __future__ import annotations

import uuid
from typing import Any

import click
from rich.text import Text

from perdure.cli.exits import CommandError, Exit, usage_error
from perdure.cli.output import table
from perdure.cli.session import Session, asks_service
from perdure.cli.settings import SETTINGS, option
from perdure.cli.workflow_messages import to_run
from perdure.exceptions import RPCError
from perdure_proto.service import (
    Message,
    ReopenWorkflowAnswer,
    ReopenWorkflowRequest,
    ResetWorkflowRequest,
    WorkflowExecutionInfo,
)

_identity_option = option(SETTINGS["identity"])
_DONE = {"RESET": "goes on as run {run_id}", "RETRY": "is tried now"}


@click.command()
@to_run
@click.option("--event-id", type=click.IntRange(1), help="Back to this WorkflowTaskCompleted.")
@click.option("--type", "point", type=click.Choice(["first", "last"]), help="Back to the first or last workflow task.")
@click.option("--activity-id", help="Back to just before this activity was scheduled.")
@click.option(
    "--reapply-exclude",
    type=click.Choice(["signal", "update"]),
    multiple=True,
    help="Do not tell these again that came later. Repeat it for both.",
)
@click.option("--reason", default="", help="Why.")
@_identity_option
@asks_service
async def reset(session: Session, /, workflow_id: str, run_id: str, **values: Any) -> None:
    """Go on from an earlier point in a new run; the current one is terminated."""
    points = [values[name] for name in ("event_id", "point", "activity_id") if values[name] is not None]
    if len(points) != 1:
        raise usage_error("say where to go back to: one of --event-id, --type and --activity-id")
    request = ResetWorkflowRequest(
        run_id=run_id,
        event_id=values["event_id"] or 0,
        point=values["point"] or "",
        activity_id=values["activity_id"] or "",
        reapply_exclude=values["reapply_exclude"],
        reason=values["reason"],
        request_id=str(uuid.uuid4()),
        identity=values["identity"] or session.service.identity,
    )
    answer = await session.service.reset(workflow_id, request)
    session.output.result(answer, Text(f"{workflow_id} goes on as run {answer.run_id}"))


class Reopened(Message, frozen=True, kw_only=True):
    """What became of one execution that a query found."""

    workflow_id: str
    run_id: str
    action: str = ""
    notes: tuple[str, ...] = ()
    refused: str = ""


@click.command()
@click.argument("workflow_id", metavar="[ID]", required=False)
@click.option("--run-id", default="", help="The run; by default the latest.")
@click.option("--query", help="Reopen all that this list filter finds, in place of one ID.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many by query.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--reason", default="", help="Why.")
@_identity_option
@asks_service
async def reopen(session: Session, /, workflow_id: str | None, query: str | None, **values: Any) -> None:
    """Go on after a bug was repaired: a failed workflow in a new run, one whose task keeps failing now."""
    if (workflow_id is None) == (query is None):
        raise usage_error("say what to reopen: an ID or --query")
    if query is not None:
        await _reopen_found(session, query, values)
    elif workflow_id is not None:
        answer = await _reopen(session, workflow_id, values["run_id"], values)
        session.output.result(answer, Text("\n".join([_said(workflow_id, answer, values), *answer.notes])))


async def _reopen(session: Session, workflow_id: str, run_id: str, values: dict[str, Any]) -> ReopenWorkflowAnswer:
    request = ReopenWorkflowRequest(
        run_id=run_id,
        reason=values["reason"],
        dry_run=values["dry_run"],
        request_id=str(uuid.uuid4()),
        identity=values["identity"] or session.service.identity,
    )
    return await session.service.reopen(workflow_id, request)


async def _reopen_found(session: Session, query: str, values: dict[str, Any]) -> None:
    """One after the other; what is refused does not stop the rest."""
    limit = values["limit"]
    found = await session.service.executions(query, limit + 1)
    done = [await _try_one(session, info, values) for info in found[:limit]]
    rows = table("WORKFLOW ID", "RUN ID", "WOULD" if values["dry_run"] else "DONE", "NOTES")
    for each in done:
        rows.add_row(each.workflow_id, each.run_id, each.action or "-", each.refused or "; ".join(each.notes))
    session.output.rows(done, rows)
    if len(found) > limit:
        raise CommandError(Exit.NOT_DONE, "LIMIT", f"the query finds more than {limit}: repeat it, or raise --limit")
    refused = sum(1 for each in done if each.refused)
    if refused and not values["dry_run"]:
        raise CommandError(Exit.NOT_DONE, "REFUSED", f"{refused} of {len(done)} were not reopened")


async def _try_one(session: Session, info: WorkflowExecutionInfo, values: dict[str, Any]) -> Reopened:
    try:
        answer = await _reopen(session, info.workflow_id, info.run_id, values)
    except RPCError as error:
        return Reopened(workflow_id=info.workflow_id, run_id=info.run_id, refused=f"{error.code}: {error.message}")
    return Reopened(workflow_id=info.workflow_id, run_id=answer.run_id, action=answer.action, notes=answer.notes)


def _said(workflow_id: str, answer: ReopenWorkflowAnswer, values: dict[str, Any]) -> str:
    if values["dry_run"]:
        return (
            f"{workflow_id} would go on in a new run" if answer.action == "RESET" else f"{workflow_id} would be tried"
        )
    return f"{workflow_id} {_DONE[answer.action].format(run_id=answer.run_id)}"
