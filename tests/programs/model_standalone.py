"""Activities that are run without a workflow."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity
from perdure.exceptions import ApplicationError
from tests.programs import signs


@activity.defn(start_to_close_timeout=timedelta(seconds=20), retry_policy="none")
async def greet(name: str, *, loud: bool = False) -> str:
    """Greets."""
    text = f"Hello, {name}!"
    return text.upper() if loud else text


@activity.defn(start_to_close_timeout=timedelta(seconds=20))
def add(left: int, right: int) -> int:
    """Adds, in a thread."""
    return left + right


@activity.defn(start_to_close_timeout=timedelta(seconds=20))
async def refuses(reason: str) -> None:
    """Fails, and is not tried again."""
    raise ApplicationError(reason, type="Refused", non_retryable=True)


@activity.defn(start_to_close_timeout=timedelta(seconds=20))
async def about() -> list[str | None]:
    """What it knows of itself."""
    info = activity.info()
    return [info.activity_id, info.workflow_id, info.workflow_type]


@activity.defn(start_to_close_timeout=timedelta(seconds=20), retry_policy="fast")
async def second_try() -> int:
    """Fails once."""
    attempt = activity.info().attempt
    if attempt == 1:
        raise ApplicationError("not yet")
    return attempt


@activity.defn(start_to_close_timeout=timedelta(seconds=60), heartbeat_timeout=timedelta(seconds=20))
async def for_ever() -> None:
    """Runs until it is cancelled."""
    activity.heartbeat("running")
    await asyncio.Event().wait()


@activity.defn(start_to_close_timeout=timedelta(seconds=60))
async def leaves() -> str:
    """Is ended from elsewhere."""
    signs.give(f"{activity.info().activity_id} left")
    activity.raise_complete_async()


ACTIVITIES = [greet, add, refuses, about, second_try, for_ever, leaves]
