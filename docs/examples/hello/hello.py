"""The smallest workflow: one activity, awaited."""

from datetime import timedelta

from perdure import activity, workflow


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
async def hello(name: str) -> str:
    return await greet(name)  # inside a workflow this is a durable activity call
