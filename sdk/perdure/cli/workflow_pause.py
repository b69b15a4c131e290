"""`perdure workflow pause | unpause`: an execution holds still, and goes on."""

from __future__ import annotations

import uuid

import click
from rich.text import Text

from perdure.cli.session import Session, asks_service
from perdure.cli.settings import SETTINGS, option
from perdure.cli.workflow_messages import to_run
from perdure_proto.service import PauseWorkflowRequest, UnpauseWorkflowRequest

_identity_option = option(SETTINGS["identity"])


@click.command()
@to_run
@click.option("--reason", default="", help="Why.")
@_identity_option
@asks_service
async def pause(session: Session, /, workflow_id: str, run_id: str, reason: str, identity: str | None) -> None:
    """Hand out nothing of a workflow any more, and stop its clocks."""
    request = PauseWorkflowRequest(
        run_id=run_id, reason=reason, request_id=str(uuid.uuid4()), identity=identity or session.service.identity
    )
    answer = await session.service.pause(workflow_id, request)
    session.output.result(answer, Text(f"paused {workflow_id}"))


@click.command()
@to_run
@click.option("--reason", default="", help="Why.")
@_identity_option
@asks_service
async def unpause(session: Session, /, workflow_id: str, run_id: str, reason: str, identity: str | None) -> None:
    """Let a paused workflow go on; what is timed comes later by as long."""
    request = UnpauseWorkflowRequest(
        run_id=run_id, reason=reason, request_id=str(uuid.uuid4()), identity=identity or session.service.identity
    )
    answer = await session.service.unpause(workflow_id, request)
    session.output.result(answer, Text(f"{workflow_id} goes on"))
