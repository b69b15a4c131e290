"""Signals that go with a start. Law: it is one transition either way, and one request id for both.

A new run has the signal in its first append, before its first workflow task. An open run gets it as any signal, unless
its log, or the log of an earlier run of the chain, has the request id already: a repeat is answered by that run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure_proto import events as ev
from perdure_proto.service import StartSignal, StartWorkflowRequest
from perdure_server.engine.checks import check_arguments, check_signal_name
from perdure_server.engine.execution import Execution
from perdure_server.history import requests as req

if TYPE_CHECKING:
    from perdure_server.config import Limits
    from perdure_server.engine.engine import Engine


def check_start_signal(signal: StartSignal, limits: Limits) -> None:
    """What is refused before anything is written."""
    check_signal_name(signal.name, limits)
    check_arguments(signal.input, signal.kwargs, limits)


def first_signals(
    request: StartWorkflowRequest, started: ev.WorkflowExecutionStarted
) -> tuple[ev.WorkflowExecutionSignaled, ...]:
    """The signal of a start as an event of the run that begins; it is placed by who writes the first events."""
    signal = request.start_signal
    if signal is None:
        return ()
    return (
        ev.WorkflowExecutionSignaled(
            event_id=0,
            event_time=started.event_time,
            signal_name=signal.name,
            input=signal.input,
            kwargs=signal.kwargs,
            encoding=signal.encoding,
            identity=request.identity,
            request_id=request.request_id,
            header=signal.header,
        ),
    )


async def deliver(engine: Engine, execution: Execution, request: StartWorkflowRequest, signal: StartSignal) -> bool:
    """Signals a run that is open; false where it has to be looked for again, since it may have closed meanwhile."""
    if execution.holds_signals:
        await execution.task_end()
        return False
    decision = engine.transact(
        execution,
        req.SignalExecution(
            signal_name=signal.name,
            input=signal.input,
            kwargs=signal.kwargs,
            encoding=signal.encoding,
            identity=request.identity,
            request_id=request.request_id,
            header=signal.header,
        ),
    )
    if decision.refused is not None:
        await engine.settled(execution)
        raise decision.refused
    await engine.acknowledged(execution)
    return True


async def signalled_before(engine: Engine, execution: Execution, request_id: str) -> Execution | None:
    """The run of the chain that took the signal of a request; None where none did."""
    if request_id not in execution.state.request_ids:
        return None
    while request_id in execution.state.started.carried_request_ids:
        run_id = execution.state.started.continued_execution_run_id
        earlier = await engine.residents.find_run(execution.key.shard_id, run_id)
        if earlier is None:  # retention has removed it
            break
        execution = earlier
    return execution
