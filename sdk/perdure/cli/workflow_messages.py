"""`perdure workflow signal | query | update | cancel | terminate | resume | stack`: what is said to an execution."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import click
import msgspec
from rich.text import Text

from perdure.cli.exits import CommandError, Exit
from perdure.cli.failure_text import failure_line
from perdure.cli.inputs import input_options, read_json
from perdure.cli.output import json_text
from perdure.cli.session import Session, asks_service
from perdure.cli.settings import DURATION, SETTINGS, Decorated, option
from perdure_proto.payload import NULL
from perdure_proto.service import (
    Acknowledged,
    CancelWorkflowRequest,
    QueryWorkflowAnswer,
    QueryWorkflowRequest,
    SignalWorkflowRequest,
    TerminateWorkflowRequest,
    UpdateWorkflowAnswer,
    UpdateWorkflowRequest,
)

STACK_TRACE = "__stack_trace"
_identity_option = option(SETTINGS["identity"])


def to_run(function: Decorated) -> Decorated:
    """The execution that is meant."""
    function = click.option("--run-id", default="", help="The run; by default the latest.")(function)
    return click.argument("workflow_id", metavar="ID")(function)


def named(function: Decorated) -> Decorated:
    """The execution, and the name of the message."""
    return to_run(click.argument("name")(function))


@click.command()
@named
@input_options
@click.option("--request-id", default="", help="A repeat with the same id does nothing more.")
@_identity_option
@asks_service
async def signal(session: Session, /, workflow_id: str, name: str, **values: Any) -> None:
    """Send a signal."""
    request = SignalWorkflowRequest(
        run_id=values["run_id"],
        input=values["inputs"],
        kwargs=values["kwargs"],
        header=values["header"],
        request_id=values["request_id"] or str(uuid.uuid4()),
        identity=values["identity"] or session.service.identity,
    )
    _acknowledge(session, await session.service.signal(workflow_id, name, request), f"signalled {workflow_id}")


@click.command()
@named
@input_options
@click.option(
    "--timeout", type=DURATION, default=timedelta(seconds=10), show_default="10s", help="How long to wait for a worker."
)
@asks_service
async def query(session: Session, /, workflow_id: str, name: str, *, timeout: timedelta, **values: Any) -> None:
    """Ask a question; the answer is JSON."""
    request = QueryWorkflowRequest(
        run_id=values["run_id"],
        input=values["inputs"],
        kwargs=values["kwargs"],
        header=values["header"],
        timeout=timeout,
    )
    answer = await session.service.query(workflow_id, name, request)
    session.output.result(answer, Text(json_text(answer.result, answer.encoding)))


@click.command()
@named
@input_options
@click.option("--update-id", default="", help="A repeat with the same id gets the first outcome; by default a UUID.")
@click.option(
    "--wait-for-stage",
    type=click.Choice(["ACCEPTED", "COMPLETED"], case_sensitive=False),
    default="COMPLETED",
    show_default=True,
    help="What to wait for.",
)
@_identity_option
@asks_service
async def update(session: Session, /, workflow_id: str, name: str, **values: Any) -> None:
    """Send an update and print its outcome."""
    request = UpdateWorkflowRequest(
        update_id=values["update_id"] or str(uuid.uuid4()),
        run_id=values["run_id"],
        input=values["inputs"],
        kwargs=values["kwargs"],
        header=values["header"],
        identity=values["identity"] or session.service.identity,
        wait_for_stage="ACCEPTED" if values["wait_for_stage"] == "ACCEPTED" else "COMPLETED",
    )
    print_outcome(session, workflow_id, await _outcome(session, workflow_id, name, request))


@click.command("update-result")
@to_run
@click.argument("update_id", metavar="UPDATE_ID")
@asks_service
async def update_result(session: Session, /, workflow_id: str, run_id: str, update_id: str) -> None:
    """Wait for an update that was sent before and print its outcome."""
    while True:
        answer = await session.service.poll_update(workflow_id, update_id, run_id, "COMPLETED")
        if answer.stage == "COMPLETED":
            break
    print_outcome(session, workflow_id, answer)


@click.command()
@to_run
@click.option("--reason", default="", help="Why.")
@_identity_option
@asks_service
async def cancel(session: Session, /, workflow_id: str, run_id: str, reason: str, identity: str | None) -> None:
    """Ask a workflow to stop; it may clean up first."""
    request = CancelWorkflowRequest(
        run_id=run_id, reason=reason, request_id=str(uuid.uuid4()), identity=identity or session.service.identity
    )
    _acknowledge(session, await session.service.cancel(workflow_id, request), f"asked {workflow_id} to stop")


@click.command()
@to_run
@click.option("--reason", default="", help="Why.")
@_identity_option
@asks_service
async def terminate(session: Session, /, workflow_id: str, run_id: str, reason: str, identity: str | None) -> None:
    """End a workflow at once; its code does not learn of it."""
    request = TerminateWorkflowRequest(
        run_id=run_id, reason=reason, details=NULL, identity=identity or session.service.identity
    )
    _acknowledge(session, await session.service.terminate(workflow_id, request), f"terminated {workflow_id}")


@click.command()
@click.argument("token", metavar="TOKEN")
@click.option("--input", "text", metavar="JSON", help="The value: JSON, @FILE or @-; null by default.")
@asks_service
async def resume(session: Session, /, token: str, text: str | None) -> None:
    """Complete a waitpoint, by its token."""
    _acknowledge(session, await session.service.resume(token, read_json(text, "--input")), "resumed")


@click.command()
@to_run
@asks_service
async def stack(session: Session, /, workflow_id: str, run_id: str) -> None:
    """Print where a workflow's code stands."""
    answer = await session.service.query(workflow_id, STACK_TRACE, QueryWorkflowRequest(run_id=run_id))
    session.output.result(answer, Text(_trace(answer)))


def _trace(answer: QueryWorkflowAnswer) -> str:
    try:
        return msgspec.json.decode(answer.result, type=str)
    except msgspec.DecodeError:
        return json_text(answer.result, answer.encoding)


async def _outcome(
    session: Session, workflow_id: str, name: str, request: UpdateWorkflowRequest
) -> UpdateWorkflowAnswer:
    """Ask again, by the same update id, until the stage is reached: one answer waits only so long."""
    while True:
        answer = await session.service.update(workflow_id, name, request)
        if answer.stage in {"COMPLETED", request.wait_for_stage}:
            return answer


def print_outcome(session: Session, workflow_id: str, answer: UpdateWorkflowAnswer) -> None:
    """The result on stdout, or that the update was accepted; one that failed is an error."""
    if answer.failure is None or not session.output.is_text:
        accepted = f"accepted: update id {answer.update_id}"
        text = accepted if answer.stage != "COMPLETED" else json_text(answer.result, answer.encoding)
        session.output.result(answer, Text(text))
    if answer.failure is not None:
        raise CommandError(Exit.NOT_DONE, "UPDATE_FAILED", f"{workflow_id}: {failure_line(answer.failure)}")


def _acknowledge(session: Session, answer: Acknowledged, text: str) -> None:
    session.output.result(answer, Text(text))
