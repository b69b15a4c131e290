"""A client of the world: the real SDK client, doing what its script says when it says it, and keeping a journal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from perdure.client import Client
from perdure.exceptions import (
    RPCError,
    WorkflowAlreadyStartedError,
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from tests.simulation.journal import Journal, Operation
from tests.simulation.loop import SimulatedLoop
from tests.simulation.program import program
from tests.simulation.richer_clients import DO as RICHER
from tests.simulation.scenario import Action
from tests.simulation.trace import Trace

Do: TypeAlias = Callable[[Client, Operation], Awaitable[None]]


class SimulatedClient:
    """One process of a client."""

    def __init__(self, name: str, client: Client, journal: Journal, loop: SimulatedLoop, trace: Trace) -> None:
        self._name = name
        self._client = client
        self._journal = journal
        self._loop = loop
        self._trace = trace
        self._number = 0

    async def run(self, script: list[Action]) -> None:
        """The whole script; operations overlap, as they are called in the order of the script."""
        async with asyncio.TaskGroup() as under_way:
            for action in sorted(script, key=lambda action: action.at):
                await asyncio.sleep(max(action.at - self._loop.time(), 0.0))
                under_way.create_task(self.do(action))

    async def do(self, action: Action) -> Operation:
        """One operation."""
        self._number += 1
        operation = Operation(
            client=self._name,
            number=self._number,
            do=action.do,
            on=action.on,
            values=action.values,
            began_at=self._loop.time(),
        )
        self._journal.operations.append(operation)
        self._trace.note(self._name, f"{action.do} {action.on}", operation.number, action.values)
        try:
            await DO[action.do](self._client, operation)
            operation.code = ""
        except RPCError as error:
            operation.code = str(error.code)
        except (WorkflowAlreadyStartedError, WorkflowQueryFailedError) as error:
            operation.code = type(error).__name__
        operation.ended_at = self._loop.time()
        self._trace.note(self._name, f"{action.do} {action.on} ended", operation.number, operation.code or "ok")
        return operation


async def start(client: Client, operation: Operation) -> None:
    steps, policy = operation.values
    handle = await client.start_workflow(program, steps, [], id=operation.on, id_conflict_policy=policy)
    operation.run_id = handle.result_run_id or ""


async def signal_with_start(client: Client, operation: Operation) -> None:
    (steps,) = operation.values
    note = [operation.client, operation.number]
    handle = await client.start_workflow(
        program, steps, [], id=operation.on, start_signal="note", start_signal_args=[note]
    )
    operation.run_id = handle.result_run_id or ""


async def signal(client: Client, operation: Operation) -> None:
    (name,) = operation.values
    await client.get_workflow_handle(operation.on).signal(name, [operation.client, operation.number])


async def update(client: Client, operation: Operation) -> None:
    value, takes = operation.values
    update_id = f"{operation.client}-{operation.number}"
    try:
        handle = client.get_workflow_handle(operation.on)
        operation.answer = await handle.execute_update("add", value, takes, id=update_id)
    except WorkflowUpdateFailedError as error:
        operation.answer = f"failed: {type(error.__cause__).__name__}"


async def query(client: Client, operation: Operation) -> None:
    operation.answer = await client.get_workflow_handle(operation.on).query("total")


async def cancel(client: Client, operation: Operation) -> None:
    await client.get_workflow_handle(operation.on).cancel()


async def terminate(client: Client, operation: Operation) -> None:
    await client.get_workflow_handle(operation.on).terminate()


async def pause(client: Client, operation: Operation) -> None:
    await client.get_workflow_handle(operation.on).pause()


async def unpause(client: Client, operation: Operation) -> None:
    await client.get_workflow_handle(operation.on).unpause()


async def reset(client: Client, operation: Operation) -> None:
    handle = await client.get_workflow_handle(operation.on).reset(operation.values[0])
    operation.run_id = handle.run_id or ""


async def result(client: Client, operation: Operation) -> None:
    """The outcome of the run that is current now, and of those that follow it."""
    described = await client.get_workflow_handle(operation.on).describe()
    operation.run_id = described.run_id
    handle = client.get_workflow_handle(operation.on, run_id=described.run_id, result_type=list[Any])
    operation.answer = await outcome(handle)


async def outcome(handle: Any) -> Any:
    try:
        return await handle.result(follow_runs=False)
    except WorkflowContinuedAsNewError:
        return "continued as new"
    except WorkflowFailureError as error:
        return f"{type(error.cause).__name__}: {error.cause}"


DO: dict[str, Do] = {
    "start": start,
    "signal_with_start": signal_with_start,
    "signal": signal,
    "update": update,
    "query": query,
    "cancel": cancel,
    "terminate": terminate,
    "pause": pause,
    "unpause": unpause,
    "reset": reset,
    "result": result,
    **RICHER,
}
