"""More of what clients do: what ends activities and waitpoints from elsewhere, controls activities, looks at runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from perdure.client import Client, WithStartWorkflowOperation
from perdure.exceptions import WorkflowUpdateFailedError
from perdure_proto.options import RetryPolicy
from tests.simulation.journal import Operation
from tests.simulation.program import program
from tests.simulation.richer import tokens

LOOKS_MAX = 20
LOOK_SECONDS = 0.25


async def update_with_start(client: Client, operation: Operation) -> None:
    value, takes, steps = operation.values
    update_id = f"{operation.client}-{operation.number}"
    start = WithStartWorkflowOperation(program(steps, []), id=operation.on, id_conflict_policy="use_existing")
    try:
        operation.answer = await client.execute_update_with_start_workflow(
            "add", value, takes, start_workflow_operation=start, id=update_id
        )
    except WorkflowUpdateFailedError as error:
        operation.answer = f"failed: {type(error.__cause__).__name__}"


async def start_retried(client: Client, operation: Operation) -> None:
    """A workflow that is tried again, as often as it says."""
    steps, attempts = operation.values
    policy = RetryPolicy(initial_interval=timedelta(seconds=0.3), maximum_attempts=attempts)
    handle = await client.start_workflow(program, steps, [], id=operation.on, retry_policy=policy)
    operation.run_id = handle.result_run_id or ""


async def start_cron(client: Client, operation: Operation) -> None:
    """A workflow that runs again and again, until somebody ends it."""
    (steps,) = operation.values
    handle = await client.start_workflow(program, steps, [], id=operation.on, cron_schedule="@every 2s")
    operation.run_id = handle.result_run_id or ""


async def answer_activity(client: Client, operation: Operation) -> None:
    """Ends an activity from elsewhere, once it is there: by its token or by its ids."""
    place, value, by = operation.values
    for _ in range(LOOKS_MAX):
        token = tokens.get(asyncio.get_running_loop(), {}).get(place)
        if token is not None:
            break
        await asyncio.sleep(LOOK_SECONDS)
    else:
        operation.answer = "never there"
        return
    if by == "token":
        await client.get_async_activity_handle(task_token=token).complete(value)
    else:
        await client.get_async_activity_handle(workflow_id=operation.on, activity_id=place).complete(value)


async def resume(client: Client, operation: Operation) -> None:
    """Completes a waitpoint, once it is there."""
    place, value = operation.values
    handle = client.get_workflow_handle(operation.on)
    for _ in range(LOOKS_MAX // 4):
        for each in await handle.waitpoints():
            if each.name == place:
                await client.resume_waitpoint(each.token, value)
                return
        await asyncio.sleep(LOOK_SECONDS * 4)
    operation.answer = "never there"


async def control_activity(client: Client, operation: Operation) -> None:
    """Pauses, unpauses or resets what activity is pending."""
    (verb,) = operation.values
    handle = client.get_workflow_handle(operation.on)
    for each in (await handle.describe()).pending_activities[:1]:
        await getattr(handle, f"{verb}_activity")(each.activity_id)


async def unpause_activities(client: Client, operation: Operation) -> None:
    """Lets all go on."""
    handle = client.get_workflow_handle(operation.on)
    for each in (await handle.describe()).pending_activities:
        await handle.unpause_activity(each.activity_id)


async def look(client: Client, operation: Operation) -> None:
    """Which run is there now, and how it is."""
    described = await client.get_workflow_handle(operation.on).describe()
    operation.run_id, operation.answer = described.run_id, str(described.status)


DO: dict[str, Any] = {
    "update_with_start": update_with_start,
    "start_retried": start_retried,
    "start_cron": start_cron,
    "answer_activity": answer_activity,
    "resume": resume,
    "control_activity": control_activity,
    "unpause_activities": unpause_activities,
    "look": look,
}
