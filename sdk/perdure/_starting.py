"""What `start_workflow` was given, taken apart: a call, a workflow with its arguments, or the name of a type."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, cast

from perdure._call import Call
from perdure._client_interceptor import StartWorkflowInput
from perdure._definition import Workflow, refuse_dynamic
from perdure._parameters import Parameters

REQUEST_FIELDS: Final[dict[str, str]] = {
    "execution_timeout": "workflow_execution_timeout",
    "run_timeout": "workflow_run_timeout",
    "task_timeout": "workflow_task_timeout",
}
"""Options whose field in the request has another name."""


class Start(NamedTuple):
    """What is to be started, however it was given."""

    workflow_type: str
    args: tuple[object, ...]
    kwargs: dict[str, object]
    parameters: Parameters | None
    result_type: Any


def start_input(start: Start, workflow_id: str, options: dict[str, Any]) -> StartWorkflowInput:
    """The start as interceptors see it."""
    given = StartWorkflowInput(start.workflow_type, start.args, workflow_id, start.kwargs, **options)
    given.arg_types, given.ret_type = start.parameters, start.result_type
    return given


def start_of(given: object, args: tuple[object, ...], result_type: Any) -> Start:
    """What `start_workflow` was given. Raises `TypeError` for what is no workflow."""
    if isinstance(given, str):
        return Start(given, args, {}, None, result_type)
    kwargs: dict[str, object] = {}
    target = given
    if isinstance(given, Call):
        if args:
            given.close()
            raise TypeError("a call has its arguments already: give the workflow, or the call alone")
        target, args, kwargs = cast(Call[object], given).take()
    if not isinstance(target, Workflow):
        raise TypeError(
            f"{target!r} is not a workflow: decorate an async def with @workflow.defn, or give a type's name"
        )
    known = cast(Workflow[..., object], target)
    refuse_dynamic(known.definition, "start_workflow(name, …)")
    signature = known.definition.resolve()
    return Start(known.name, args, kwargs, signature.parameters, signature.result)
