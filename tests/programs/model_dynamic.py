"""Workflows, activities and handlers that take whatever comes."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from perdure import RawValue, activity, workflow
from perdure.exceptions import ApplicationError

MINUTE = timedelta(minutes=1)


@activity.defn(start_to_close_timeout=MINUTE)
async def known(value: int) -> str:
    return f"known {value}"


@activity.defn(dynamic=True)
async def any_activity(args: Sequence[RawValue]) -> list[Any]:
    read = activity.payload_converter().from_payload
    return [activity.info().activity_type, *[read(one.payload) for one in args]]


@workflow.defn
async def fixed(value: int) -> str:
    return await known(value)


@workflow.defn(dynamic=True)
async def any_workflow(args: Sequence[RawValue]) -> dict[str, Any]:
    """Reads its first argument, passes all on unread to activities, and takes every message."""
    heard: list[list[Any]] = []
    read = workflow.payload_converter().from_payload

    @workflow.signal(dynamic=True)
    async def _(name: str, values: Sequence[RawValue]) -> None:
        heard.append([name, *[read(one.payload) for one in values]])

    @workflow.query(dynamic=True)
    def _(name: str, values: list[int]) -> str:
        return f"{name} {sum(values)}"

    @workflow.update(dynamic=True)
    async def on_update(name: str, values: Sequence[RawValue]) -> list[Any]:
        result: list[Any] = await workflow.execute_activity(
            f"for_{name}", args=list(values), start_to_close_timeout=MINUTE
        )
        return result

    @on_update.validator
    def _(name: str, values: Sequence[RawValue]) -> None:
        if not values:
            raise ApplicationError(f"{name} needs a value", type="Empty")

    @workflow.signal
    def done() -> None:
        heard.append(["done"])

    wanted = read(args[0].payload, int)
    near = await workflow.execute_activity("near", args=list(args), start_to_close_timeout=MINUTE)
    local = await workflow.execute_local_activity("local", args=list(args), start_to_close_timeout=MINUTE)
    await workflow.wait_condition(lambda: len(heard) >= wanted)
    await workflow.wait_condition(workflow.all_handlers_finished)
    return {"type": workflow.info().workflow_type, "near": near, "local": local, "heard": heard}


WORKFLOWS: list[workflow.Workflow[..., Any]] = [fixed, any_workflow]
ACTIVITIES: list[object] = [known, any_activity]
