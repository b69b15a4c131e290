"""Eager turns: the end of an activity and the workflow task to which it leads, taken from one worker in one commit.

The worker that runs an activity often has its workflow cached, and nothing else can be news to it: it knows what the
workflow will do when the activity ends, and says so together with the result. A step then costs one commit and one
exchange instead of two.

Law: a turn is taken only if it is the very task that would have been handed out, so that a replay cannot tell the
difference: the history ended where the worker thought, the task was told no more than the log will say, and its time
lies between the last event and now. If it is not taken, the activity ends as always, and the task is handed out with
the whole history, for the worker's cache is ahead of the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from perdure_proto import commands as cmd
from perdure_proto.codec import decode_commands
from perdure_proto.errors import Code, ServiceError
from perdure_proto.tasks import CompletionResult, EagerTurn
from perdure_server.engine.execution import Execution
from perdure_server.history import requests as req
from perdure_server.history.decision import Decision
from perdure_server.history.transitions.workflow_task import suggests_continue_as_new

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

_MAY_BEGIN_A_RUN = (cmd.ContinueAsNewWorkflowExecution, cmd.FailWorkflowExecution)


def take_eagerly(
    engine: Engine, execution: Execution, ended: req.CompleteActivity, turn: EagerTurn, build_id: str
) -> CompletionResult:
    """Ends the activity, and takes the turn if it is the next workflow task. What is staged is one append."""
    commands = _commands_if_next(engine, execution, ended, turn)
    decision = engine.transact(execution, ended, now=None if commands is None else turn.started_at)
    if commands is None or decision.refused is not None or not _is_due(engine, execution, turn):
        execution.sticky_session = ""
        return result_of(decision)
    taken = engine.transact(execution, _task_request(engine, execution, commands, (ended, turn, build_id)))
    if taken.refused is not None:
        execution.sticky_session = ""
        return CompletionResult()
    execution.sticky_session = ended.session
    return CompletionResult(history_size_bytes=execution.state.history_bytes)


def _commands_if_next(
    engine: Engine, execution: Execution, ended: req.CompleteActivity, turn: EagerTurn
) -> list[cmd.AnyCommand] | None:
    """The commands of a turn that goes on where the history ends; None if it does not, or cannot be taken at once.

    The last event is the scheduling of the activity: nothing else has happened since the turn before.
    """
    state = execution.state
    if not ended.scheduled_event_id == turn.last_event_id == state.last_event_id or state.workflow_task is not None:
        return None
    if not state.last_event_time <= turn.started_at <= engine.now():
        return None
    if execution.transactional and _may_be_held(execution, ended):
        return None
    try:
        commands = commands_of(turn.commands)
    except ServiceError:
        return None
    reads = any(isinstance(c, cmd.ContinueAsNewWorkflowExecution) and c.unclaimed_signals for c in commands)
    return None if reads else commands


def _may_be_held(execution: Execution, ended: req.CompleteActivity) -> bool:
    """Whether another activity has a transaction: a turn that closes the run would have to wait for it."""
    others = (a for event_id, a in execution.state.activities.items() if event_id != ended.scheduled_event_id)
    return any(activity.transactional for activity in others)


def _is_due(engine: Engine, execution: Execution, turn: EagerTurn) -> bool:
    """Whether the activity's end made a task due that would have told the workflow what the turn told it."""
    task = execution.state.workflow_task
    return (
        task is not None
        and task.kind == "logged"
        and task.started is None
        and task.scheduled_event_id == execution.state.last_event_id
        and turn.suggest_continue_as_new == suggests_continue_as_new(execution.state, engine.limits)
    )


def _task_request(
    engine: Engine,
    execution: Execution,
    commands: list[cmd.AnyCommand],
    source: tuple[req.CompleteActivity, EagerTurn, str],
) -> req.CompleteWorkflowTask:
    ended, turn, build_id = source
    last_event_id = execution.state.last_event_id
    return req.CompleteWorkflowTask(
        scheduled_event_id=last_event_id,
        started_event_id=last_event_id + 1,
        attempt=1,
        started_at=turn.started_at,
        identity=ended.identity,
        build_id=build_id,
        commands=commands,
        current_details=turn.current_details,
        history_size_bytes=turn.history_size_bytes,
        new_run_id=engine.new_run_id() if opens_run(execution, commands) else "",
    )


def commands_of(encoded: Raw) -> list[cmd.AnyCommand]:
    """The commands of a completion. Raises `ServiceError` with `BAD_COMMAND`."""
    try:
        return decode_commands(encoded)
    except msgspec.DecodeError as error:
        raise ServiceError(Code.BAD_COMMAND, f"the commands do not fit their types: {error}") from None


def opens_run(execution: Execution, commands: list[cmd.AnyCommand]) -> bool:
    """Whether another run may begin with these; the completion of a cron workflow begins one too."""
    if execution.state.started.cron_schedule:
        return True
    return any(isinstance(command, _MAY_BEGIN_A_RUN) for command in commands)


def result_of(decision: Decision) -> CompletionResult:
    """What a decision is to the worker whose completion asked for it."""
    return CompletionResult() if decision.refused is None else refused(decision.refused)


def refused(error: ServiceError) -> CompletionResult:
    """What an error is to the worker; one that belongs to another server is sent there."""
    return CompletionResult(code=error.code, message=error.message, owner=error.details.get("address", ""))
