"""`perdure workflow start | execute | result`: beginning an execution and waiting for how it ends."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from typing import Any

import click
import msgspec
from rich.text import Text

from perdure.cli.chain_options import chain_fields, chain_options
from perdure.cli.claim_options import claim_options
from perdure.cli.exits import CommandError, Exit, usage_error
from perdure.cli.failure_text import failure_line
from perdure.cli.inputs import input_options, json_option, read_inputs, read_keywords
from perdure.cli.output import json_text
from perdure.cli.progress import Progress
from perdure.cli.session import Session, asks_service
from perdure.cli.settings import DURATION, SETTINGS, Decorated, options
from perdure_proto.service import StartSignal, StartWorkflowAnswer, StartWorkflowRequest, WorkflowResultAnswer


def start_options(function: Decorated) -> Decorated:
    """Everything that can be said about an execution when it starts."""
    return options_of_start(function, claim_options("execution"))


def options_of_start(function: Decorated, claim: Callable[[Decorated], Decorated]) -> Decorated:
    """The same with other options about the id."""
    function = options(SETTINGS["task_queue"], SETTINGS["identity"])(function)
    for decorate in (
        click.option("--summary", "--static-summary", "summary", default="", help="One line about this execution."),
        claim,
        click.option("--task-timeout", type=DURATION, help="Limit of one workflow task."),
        click.option("--run-timeout", type=DURATION, help="Limit of one run."),
        click.option("--execution-timeout", type=DURATION, help="Limit of the whole chain of runs."),
    ):
        function = decorate(function)
    function = input_options(chain_options(function))
    function = click.option("--id", "workflow_id", default="", help="The workflow id; by default a UUID.")(function)
    return click.argument("workflow_type", metavar="TYPE")(function)


@click.command()
@start_options
@asks_service
async def start(session: Session, /, **values: Any) -> None:
    """Start a workflow and say its ids."""
    answer = await _start(session, values)
    verb = "started" if answer.started else "already started"
    session.output.result(answer, Text(f"{verb}: workflow id {answer.workflow_id}, run id {answer.run_id}"))


@click.command()
@start_options
@asks_service
async def execute(session: Session, /, **values: Any) -> None:
    """Start a workflow, wait for it, and print its result."""
    answer = await _start(session, values)
    progress = Progress(session.service, answer.workflow_id, answer.run_id)
    if session.output.is_text and sys.stderr.isatty():
        async with progress.drawn():
            ending = await wait_for_result(session, answer.workflow_id, answer.run_id)
    else:
        ending = await wait_for_result(session, answer.workflow_id, answer.run_id)
    print_result(session, answer.workflow_id, ending)


@click.command("signal-with-start")
@start_options
@click.option("--signal-name", required=True, help="The signal.")
@click.option(
    "--signal-input",
    "signal_inputs",
    multiple=True,
    metavar="JSON",
    callback=read_inputs,
    help="An argument of the signal: JSON, @FILE or @-. Repeat it for several.",
)
@json_option("--signal-kwargs", read_keywords, "Keyword arguments of the signal: a JSON object, @FILE or @-.")
@asks_service
async def signal_with_start(session: Session, /, **values: Any) -> None:
    """Signal a workflow, and start it first if it is not running; both are one step."""
    if not values["workflow_id"]:
        raise usage_error("signal-with-start needs the --id of the workflow")
    signal = StartSignal(
        name=values["signal_name"],
        input=values["signal_inputs"],
        kwargs=values["signal_kwargs"],
        header=values["header"],
    )
    answer = await _start(session, values, signal)
    verb = "started and signalled" if answer.started else "signalled"
    session.output.result(answer, Text(f"{verb}: workflow id {answer.workflow_id}, run id {answer.run_id}"))


@click.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--run-id", default="", help="The run; by default the latest.")
@asks_service
async def result(session: Session, /, workflow_id: str, run_id: str) -> None:
    """Wait for a workflow and print its result."""
    print_result(session, workflow_id, await wait_for_result(session, workflow_id, run_id))


async def wait_for_result(session: Session, workflow_id: str, run_id: str) -> WorkflowResultAnswer:
    """How the chain of runs ends: each new run is followed."""
    while True:
        answer = await session.service.result(workflow_id, run_id)
        run_id = answer.new_run_id or run_id
        if not answer.new_run_id and answer.status not in {"RUNNING", "PAUSED"}:
            return answer


def print_result(session: Session, workflow_id: str, answer: WorkflowResultAnswer) -> None:
    """The result on stdout; a workflow that did not complete is an error."""
    text = json_text(answer.result, answer.encoding)
    if answer.status == "COMPLETED":
        session.output.result(answer, Text(text))
        return
    if not session.output.is_text:
        session.output.line(answer)
    why = failure_line(answer.failure) if answer.failure else answer.status.lower().replace("_", " ")
    raise CommandError(
        Exit.NOT_DONE,
        f"WORKFLOW_{answer.status}",
        f"{workflow_id}: {why}; see 'perdure workflow show {workflow_id}'",
    )


async def _start(session: Session, values: dict[str, Any], signal: StartSignal | None = None) -> StartWorkflowAnswer:
    request = msgspec.structs.replace(start_request(session, values), start_signal=signal)
    return await session.service.start(values["workflow_id"] or str(uuid.uuid4()), request)


def start_request(session: Session, values: dict[str, Any]) -> StartWorkflowRequest:
    """What the options of a start say."""
    return StartWorkflowRequest(
        workflow_type=values["workflow_type"],
        task_queue=values["task_queue"],
        input=values["inputs"],
        kwargs=values["kwargs"],
        request_id=values["request_id"] or str(uuid.uuid4()),
        identity=values["identity"] or session.service.identity,
        workflow_execution_timeout=values["execution_timeout"],
        workflow_run_timeout=values["run_timeout"],
        workflow_task_timeout=values["task_timeout"],
        id_reuse_policy=values["id_reuse_policy"],
        id_conflict_policy=values["id_conflict_policy"],
        memo=values["memo"],
        search_attributes=values["search_attributes"],
        static_summary=values["summary"],
        header=values["header"],
        **chain_fields(values),
    )
