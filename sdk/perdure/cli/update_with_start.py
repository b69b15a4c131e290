"""`perdure workflow start-update-with-start | execute-update-with-start`: an update that brings its workflow along."""

from __future__ import annotations

import uuid
from typing import Any

import click

from perdure.cli.claim_options import claim_options
from perdure.cli.inputs import json_option, read_arguments, read_keywords
from perdure.cli.session import Session, asks_service
from perdure.cli.settings import Decorated
from perdure.cli.workflow_messages import print_outcome
from perdure.cli.workflow_start import options_of_start, start_request
from perdure_proto.service import UpdateStage, UpdateWithStartRequest, UpdateWorkflowAnswer, UpdateWorkflowRequest


def _read_inputs(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> object:
    return read_arguments(texts, "--update-input")


def _both_options(function: Decorated) -> Decorated:
    """Everything about the start, and everything about the update.

    The conflict policy must be said, as in the SDK: whether the workflow that runs is meant has no good default.
    """
    for decorate in (
        click.option("--update-id", default="", help="A repeat with the same id gets the first outcome."),
        json_option("--update-kwargs", read_keywords, "Keyword arguments of the update: a JSON object."),
        click.option(
            "--update-input",
            multiple=True,
            metavar="JSON",
            callback=_read_inputs,
            help="An argument of the update: JSON, @FILE or @-. Repeat it for several.",
        ),
        click.option("--update-name", required=True, help="The update."),
    ):
        function = decorate(function)
    return options_of_start(function, claim_options("execution", default=None))


@click.command("start-update-with-start")
@_both_options
@asks_service
async def start_update_with_start(session: Session, /, **values: Any) -> None:
    """Send an update to a workflow, started if need be, and wait until it is accepted."""
    await _send(session, values, "ACCEPTED")


@click.command("execute-update-with-start")
@_both_options
@asks_service
async def execute_update_with_start(session: Session, /, **values: Any) -> None:
    """Send an update to a workflow, started if need be, and print its outcome."""
    await _send(session, values, "COMPLETED")


async def _send(session: Session, values: dict[str, Any], stage: UpdateStage) -> None:
    workflow_id = values["workflow_id"] or str(uuid.uuid4())
    update = UpdateWorkflowRequest(
        update_id=values["update_id"] or str(uuid.uuid4()),
        input=values["update_input"],
        kwargs=values["update_kwargs"],
        identity=values["identity"] or session.service.identity,
        wait_for_stage=stage,
        header=values["header"],
    )
    request = UpdateWithStartRequest(start=start_request(session, values), update=update)
    print_outcome(session, workflow_id, await _outcome(session, workflow_id, values["update_name"], request))


async def _outcome(
    session: Session, workflow_id: str, name: str, request: UpdateWithStartRequest
) -> UpdateWorkflowAnswer:
    """Ask again, by the same ids, until the stage is reached: one answer waits only so long."""
    while True:
        answer = (await session.service.update_with_start(workflow_id, name, request)).update
        if answer.stage in {"COMPLETED", request.update.wait_for_stage}:
            return answer
