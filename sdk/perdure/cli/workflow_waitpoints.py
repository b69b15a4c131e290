"""`perdure workflow waitpoints`, and the waitpoints of a description: the workflow's code is asked for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import click
import msgspec
from rich.console import RenderableType
from rich.text import Text

from perdure.cli.exits import CommandError, Exit
from perdure.cli.output import fields, instant, table
from perdure.cli.session import Session, asks_service
from perdure.exceptions import RPCError
from perdure_proto.service import DescribeWorkflowAnswer, QueryWorkflowRequest
from perdure_proto.waitpoints import QUERY, PendingWaitpoint

COMMAND: Final = "perdure workflow waitpoints"
"""What shows the URLs: each is a secret, and a description may be shown around."""

PATIENCE: Final = timedelta(seconds=2)
"""How long a description waits for the worker that has the workflow in memory."""


@click.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--run-id", default="", help="The run; by default the latest.")
@asks_service
async def waitpoints(session: Session, /, workflow_id: str, run_id: str) -> None:
    """List the waitpoints that nobody has completed, with their URLs; a worker has to answer."""
    found = await _ask(session, workflow_id, QueryWorkflowRequest(run_id=run_id))
    if found is None:
        raise CommandError(Exit.NOT_DONE, "QUERY_FAILED", "the answer is encoded: ask with a client that has the codec")
    rows = table("NAME", "EXPIRES", "URL")
    for one in found:
        rows.add_row(Text(one.name), instant(one.expires_at), Text(one.url, overflow="fold"))
    session.output.rows(found, rows)


async def pending_waitpoints(session: Session, answer: DescribeWorkflowAnswer) -> Sequence[RenderableType]:
    """What a description says of them, where a worker has the workflow in memory and answers soon."""
    if not answer.sticky_worker:
        return ()
    info = answer.execution
    try:
        request = QueryWorkflowRequest(run_id=info.run_id, timeout=PATIENCE)
        found = await _ask(session, info.workflow_id, request)
    except RPCError:
        return ()
    lines: list[RenderableType] = []
    for one in found or ():
        lines.append(Text(f"\npending waitpoint {one.name}", style="bold"))
        lines.append(
            fields([("  expires", instant(one.expires_at)), ("  its url", f"see {COMMAND} {info.workflow_id}")])
        )
    return lines


async def _ask(session: Session, workflow_id: str, request: QueryWorkflowRequest) -> Sequence[PendingWaitpoint] | None:
    """What its code says; None where a payload codec keeps it from being read."""
    answer = await session.service.query(workflow_id, QUERY, request)
    if answer.encoding:
        return None
    return msgspec.json.decode(answer.result, type=list[PendingWaitpoint])
