"""How a run ends: what the main coroutine returns or raises, as the command that closes the run, or a failed task.

A plain exception fails the workflow. Errors that only say that the program is wrong fail the task, so that repaired
code can go on; so do errors of determinism. It must not know how activations are driven.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from perdure._runtime import ContinueAsNewRequest
from perdure._worker_interceptor import ExecuteWorkflowInput
from perdure.exceptions import (
    ApplicationError,
    ContinueAsNewError,
    ConversionError,
    FailureError,
    NondeterminismError,
    is_cancelled_exception,
)
from perdure_proto import commands as cmd
from perdure_proto.errors import Code
from perdure_worker.workflow_log import log

if TYPE_CHECKING:
    from perdure_worker.messages import Handlers, Signals
    from perdure_worker.run import Run

PROGRAM_ERRORS: Final = (
    NameError,
    AttributeError,
    TypeError,
    ImportError,
    SyntaxError,
    RecursionError,
    NondeterminismError,
)
"""What only says that the program is wrong: the workflow is parked until repaired code is there."""


ABANDONED: Final = (
    "the workflow ends while handlers are under way: %s; their work is lost, and who sent an update is told so. Await "
    "workflow.wait_condition(workflow.all_handlers_finished) before the end, or declare the handler with "
    "unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON"
)


def is_program_error(error: BaseException, failing: Sequence[type[BaseException]] | None) -> bool:
    """Whether an exception fails the task rather than the workflow.

    `failing` are the workflow's `failure_exception_types`; None is the rule of the six, `[]` that of Temporal.
    """
    if failing is not None and isinstance(error, tuple(failing)):
        return False
    if isinstance(error, BaseExceptionGroup):
        return any(is_program_error(one, failing) for one in error.exceptions)
    if isinstance(error, FailureError | asyncio.CancelledError | TimeoutError):
        return False
    return failing is not None or isinstance(error, PROGRAM_ERRORS)


def _continuation_in(error: BaseException) -> ContinueAsNewError | None:
    """The wish to continue as new: itself, or out of a task group."""
    if isinstance(error, ContinueAsNewError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _continuation_in(one))), None)
    return None


class Ending:
    """Closes one run."""

    def __init__(self, run: Run, handlers: Handlers) -> None:
        self._run = run
        self._handlers = handlers
        self.signals: Signals
        """Set by who puts the parts together: signals and the ending know each other."""

    async def run_main(self) -> None:
        """The main coroutine, from its arguments to the command that closes the run."""
        try:
            try:
                args, kwargs = self._arguments()
            except ConversionError as error:
                refused = ApplicationError(str(error), type=Code.INVALID_ARGUMENT, non_retryable=True)
                self.close_with(refused)
                return
            self._complete(await self._call(args, kwargs))
        except (GeneratorExit, SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - it says how the run ends
            self.close_with(error)

    def _call(self, args: list[Any], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        fn: Callable[..., Coroutine[Any, Any, Any]] = self._run.definition.fn
        inbound, started = self._run.inbound, self._run.started
        if inbound is None or started is None:
            return fn(*args, **kwargs)
        return inbound.execute_workflow(ExecuteWorkflowInput(fn, args, kwargs, started.header))

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        started, definition = self._run.started, self._run.definition
        assert started is not None
        types = definition.resolve().parameters
        args, kwargs = self._run.converter.decode_args(started.input, started.kwargs, started.encoding, types)
        return ([args] if definition.dynamic else args), kwargs

    def _complete(self, result: object) -> None:
        definition = self._run.definition
        raw, encoding = self._run.converter.encode_value(result, definition.resolve().result)
        self._close(cmd.CompleteWorkflowExecution(result=raw, encoding=encoding))

    def close_with(self, error: BaseException) -> None:
        """The run ends with an exception: of the main coroutine, or of a signal handler."""
        run = self._run
        if run.gone:
            return
        if (onward := _continuation_in(error)) is not None:
            self._continue(onward.request)
        elif run.cancel_requested and is_cancelled_exception(error):
            self._close(cmd.CancelWorkflowExecution())
        elif is_program_error(error, run.definition.failure_exception_types):
            run.fail_task(error)
        else:
            self._close(cmd.FailWorkflowExecution(failure=run.failure_of(error)))

    def _continue(self, request: object) -> None:
        assert isinstance(request, ContinueAsNewRequest)
        run = self._run
        types = request.arg_types
        if types is None and request.workflow_type is None and not run.definition.dynamic:
            types = run.definition.resolve().parameters
        try:
            args, kwargs, encoding = run.converter.encode_args(request.args, request.kwargs, types)
        except ConversionError as error:
            run.fail_task(error)
            return
        self._close(
            cmd.ContinueAsNewWorkflowExecution(
                workflow_type=request.workflow_type or "",
                task_queue=request.task_queue or "",
                input=args,
                kwargs=kwargs,
                encoding=encoding,
                workflow_run_timeout=request.run_timeout,
                workflow_task_timeout=request.task_timeout,
                retry_policy=request.retry_policy,
                memo=request.memo,
                search_attributes=request.search_attributes,
                backoff_start_interval=request.backoff_start_interval or timedelta(0),
                header=dict(request.headers or {}),
                unclaimed_signals=self.signals.unclaimed(),
            )
        )

    def _close(self, command: cmd.AnyCommand) -> None:
        """The last command. Handlers may still end in the same turn."""
        if not self._run.execution.closed:
            self._run.execution.origin = None
            self._run.execution.issue(command)

    def warn_of_abandoned(self) -> None:
        """The turn that closed the run is over: what is under way is told of, for its work is lost."""
        if abandoned := self._handlers.abandoned():
            log(self._run, logging.WARNING, ABANDONED, ", ".join(abandoned))
