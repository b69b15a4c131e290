"""What `start_workflow` was given, taken apart: a call, a workflow with its arguments, or the name of a type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast
from uuid import uuid4

from perdure._call import Call
from perdure._client_interceptor import StartWorkflowInput
from perdure._definition import Workflow, refuse_dynamic
from perdure._messages import Outgoing, SignalCall, outgoing
from perdure._notes import plain_attributes, plain_memo
from perdure._parameters import Parameters
from perdure._service import Service
from perdure_proto.service import StartSignal, StartWorkflowRequest

StartInput = TypeVar("StartInput", bound=StartWorkflowInput)

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


def start_input(start: Start, workflow_id: str, options: dict[str, Any], kind: type[StartInput]) -> StartInput:
    """The start as interceptors see it."""
    given = kind(start.workflow_type, start.args, workflow_id, start.kwargs, **options)
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


def given_to(input: StartWorkflowInput) -> Start:
    """What interceptors have made of a start, but for its id and its options."""
    return Start(input.workflow, tuple(input.args), dict(input.kwargs), input.arg_types, input.ret_type)


def start_request(service: Service, start: Start, options: dict[str, Any]) -> StartWorkflowRequest:
    """A start as it travels; the headers of the start go with its signal too."""
    options.pop("request_eager_start", None)  # whoever can do it has taken it out
    positional, kwargs, encoding = service.converter.encode_args(start.args, start.kwargs, start.parameters)
    fields = {REQUEST_FIELDS.get(name, name): value for name, value in options.items() if value is not None}
    for name, plain in (("memo", plain_memo), ("search_attributes", plain_attributes)):
        if name in fields:
            fields[name] = plain(fields[name])
    fields.setdefault("request_id", str(uuid4()))
    call = _signal_call(fields.pop("start_signal", None), fields.pop("start_signal_args", ()))
    return StartWorkflowRequest(
        workflow_type=start.workflow_type,
        input=positional,
        kwargs=kwargs,
        encoding=encoding,
        identity=service.identity,
        start_signal=None if call is None else _start_signal(service, call, fields.get("header", {})),
        **fields,
    )


def _signal_call(given: SignalCall | str | None, args: Sequence[object]) -> Outgoing | None:
    if given is not None:
        return outgoing(given, tuple(args), {}, SignalCall)
    if args:
        raise TypeError("start_signal_args are the arguments of a start_signal: give its name too")
    return None


def _start_signal(service: Service, call: Outgoing, header: dict[str, Any]) -> StartSignal:
    positional, kwargs, encoding = service.converter.encode_args(call.args, call.kwargs, call.parameters)
    return StartSignal(name=call.name, input=positional, kwargs=kwargs, encoding=encoding, header=header)
