"""Activities that leave their worker and are ended by somebody else, and workflows that wait for them."""

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ActivityError, ApplicationError
from perdure_proto.options import RetryPolicy
from tests.programs import signs

MINUTE = timedelta(minutes=1)
tokens: dict[str, bytes] = {}
"""The token of the last attempt, by workflow id."""


def leave() -> None:
    info = activity.info()
    whose = info.workflow_id or info.activity_id
    tokens[whose] = info.task_token
    signs.give(f"{whose} {info.attempt}")
    activity.raise_complete_async()


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=20)))
async def ask(question: str) -> str:
    """Begins and leaves; the next attempt gives what the one before was told of."""
    if details := activity.info().heartbeat_details:
        return f"{question} {details[0]} {activity.info().attempt}"
    leave()
    return "never"


@activity.defn(start_to_close_timeout=MINUTE)
def ask_in_a_thread(question: str) -> str:
    signs.give(f"{activity.info().workflow_id} question {question}")
    leave()
    return question


@activity.defn(start_to_close_timeout=MINUTE)
async def leaves_locally() -> None:
    activity.raise_complete_async()


go = workflow.Signal[None]("go")


@workflow.defn
async def asks(question: str) -> str:
    return await ask.with_options(activity_id="the-question")(question)


@workflow.defn
async def asks_in_threads(count: int) -> list[str]:
    """More questions at once than a worker has slots."""
    return await asyncio.gather(
        *(ask_in_a_thread.with_options(activity_id=f"q-{number}")(str(number)) for number in range(count))
    )


@workflow.defn
async def asks_until_cancelled() -> str:
    patient = ask.with_options(cancellation_type="wait_cancellation_completed", activity_id="the-question")
    handle = patient.start("whether")
    await go.channel().receive()
    handle.cancel()
    try:
        return await handle
    except asyncio.CancelledError:
        return "cancelled"


@workflow.defn
async def asks_in_vain() -> str:
    """Nobody gives a sign of life."""
    silent = ask.with_options(heartbeat_timeout=timedelta(seconds=0.3), retry_policy="none")
    try:
        return await silent("anybody?")
    except ActivityError as error:
        return f"{type(error.cause).__name__} {error.retry_state}"


@workflow.defn
async def leaves_out_of_place() -> str:
    try:
        await leaves_locally.local()
    except ActivityError as error:
        return error.cause.message if isinstance(error.cause, ApplicationError) else "no reason"
    return "left"


WORKFLOWS: list[workflow.Workflow[..., Any]] = [
    asks,
    asks_in_threads,
    asks_until_cancelled,
    asks_in_vain,
    leaves_out_of_place,
]
ACTIVITIES: list[object] = [ask, ask_in_a_thread, leaves_locally]
