"""Chains of runs: retries, cron, continue-as-new, and starts that wait."""

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ApplicationError
from perdure_proto.options import RetryPolicy

QUICK = RetryPolicy(initial_interval=timedelta(seconds=0.1), backoff_coefficient=1.0, maximum_attempts=4)
LONG = 60.0

go = workflow.Signal[str]("go")
ask = workflow.Update[[str], str]("ask")


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def plus_one(number: int) -> int:
    return number + 1


def told() -> dict[str, Any]:
    """What a run knows of its chain."""
    info = workflow.info()
    failure = workflow.get_last_failure()
    return {
        "attempt": info.attempt,
        "first": info.first_execution_run_id,
        "continued": info.continued_run_id,
        "cron": info.cron_schedule,
        "waited": (info.start_time - info.workflow_start_time).total_seconds(),
        "has": workflow.has_last_completion_result(),
        "result": workflow.get_last_completion_result(),
        "failure": getattr(failure, "message", None),
    }


@workflow.defn
async def tries(wanted: int, kind: str) -> list[Any]:
    """Fails until so many attempts were made."""
    info = workflow.info()
    if info.attempt < wanted:
        delay = timedelta(seconds=0.5) if kind == "Later" else None
        raise ApplicationError(f"attempt {info.attempt}", type=kind, next_retry_delay=delay)
    return [told(), info.retry_policy is not None]


@workflow.defn
async def counts(limit: int) -> int:
    """A cron workflow that counts its runs in its result; at the limit it waits to be stopped."""
    count = await plus_one(workflow.get_last_completion_result(int) or 0)
    if count > limit:
        await asyncio.sleep(LONG)
    return count


@workflow.defn
async def stumbles() -> dict[str, Any]:
    """A cron workflow whose second run fails, and whose third says what it knows."""
    if not workflow.has_last_completion_result():
        return {"run": 1}
    if workflow.get_last_failure() is None:
        raise ApplicationError("the second run")
    return await waits_to_tell()


async def waits_to_tell() -> dict[str, Any]:
    known = told()

    @ask.handler
    async def _(_: str) -> str:
        return str(known)

    await asyncio.sleep(LONG)
    return known


@workflow.defn
async def hands_on(number: int) -> dict[str, Any]:
    """A run of it continues as new once."""
    if number == 1:
        workflow.continue_as_new(2)
    return told()


@workflow.defn
async def hands_over(what: str) -> dict[str, Any]:
    """Goes on as another workflow, with everything otherwise."""
    options: dict[str, Any] = {"memo": {"by": what}, "search_attributes": {"n": 2}}
    target: Any = takes_over if what == "function" else "takes_over"
    workflow.continue_as_new(
        what,
        workflow=target,
        task_queue="model",
        run_timeout=timedelta(seconds=50),
        task_timeout=timedelta(seconds=7),
        retry_policy="fast",
        backoff_start_interval=timedelta(seconds=0.2),
        **options,
    )


@workflow.defn
async def takes_over(what: str) -> dict[str, Any]:
    info = workflow.info()
    return {
        **told(),
        "what": what,
        "memo": dict(info.memo),
        "attributes": dict(info.search_attributes),
        "run_timeout": info.run_timeout.total_seconds() if info.run_timeout else None,
        "task_timeout": info.task_timeout.total_seconds(),
        "attempts": info.retry_policy.maximum_attempts if info.retry_policy else None,
    }


@workflow.defn
async def listens() -> list[Any]:
    """Waits for a signal or for an update."""
    got: list[str] = []

    @ask.handler
    async def _(value: str) -> str:
        if value == "refused":
            raise ApplicationError("no")
        got.append(value)
        return f"heard {value}"

    @go.handler
    def _(value: str) -> None:
        got.append(value)

    await workflow.wait_condition(lambda: bool(got))
    return [got, told()["waited"]]


@workflow.defn
async def always_fails() -> None:
    raise ApplicationError("again", type="Again")


@workflow.defn
async def stops(how: str) -> str:
    """What it makes of a cancel request."""
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        if how == "fails":
            raise ApplicationError("could not clean up") from None
        if how == "obeys":
            raise
        return f"stopped: {workflow.cancellation_reason()}"
    return "slept"


@workflow.defn
async def keeps_a_child() -> str:
    """Its child runs by a schedule; it ends the chain when it is told to."""
    child = await counts.with_options(id=f"{workflow.info().workflow_id}-child", cron_schedule="@every 1s").start(2)
    await go.channel().receive()
    child.cancel()
    try:
        return f"completed: {await child}"
    except asyncio.CancelledError:
        return "cancelled"


WORKFLOWS: list[workflow.Workflow[..., Any]] = [
    tries,
    counts,
    stumbles,
    hands_on,
    hands_over,
    takes_over,
    listens,
    always_fails,
    stops,
    keeps_a_child,
]
ACTIVITIES = [plus_one]
