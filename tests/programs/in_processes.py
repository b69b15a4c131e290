"""Activities that run in processes of their own, and workflows that call them."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ApplicationError

MINUTE = timedelta(minutes=1)
HOURS = 3600.0
CRASHES: dict[str, Callable[[], object]] = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exits": lambda: os._exit(3),
}
RUNS = "a process runs"


@dataclass
class Point:
    """A value that is pickled on its way."""

    x: int
    y: int


@activity.defn(executor="process", start_to_close_timeout=MINUTE)
def pid() -> int:
    return os.getpid()


@activity.defn(executor="process", start_to_close_timeout=MINUTE)
def mirrored(point: Point, *, twice: bool = False) -> Point:
    activity.heartbeat(point, "half")
    activity.logger.warning("mirrors %s", point)
    return point if twice else Point(point.y, point.x)


@activity.defn(executor="process", start_to_close_timeout=MINUTE)
def told() -> list[str]:
    info = activity.info()
    return [info.activity_id, info.workflow_id, str(info.attempt), *map(str, info.heartbeat_details)]


@activity.defn(executor="process", start_to_close_timeout=MINUTE, retry_policy="fast")
def crashes(how: str, marker: str) -> int:
    """The first attempt ends its process; the next finds what that left."""
    if not Path(marker).exists():
        Path(marker).touch()
        CRASHES[how]()
    return activity.info().attempt


@activity.defn(executor="process", start_to_close_timeout=MINUTE)
def dies(how: str) -> None:
    CRASHES[how]()


@activity.defn(executor="process", start_to_close_timeout=MINUTE, retry_policy="none")
def fails(kind: str) -> object:
    if kind == "exit":
        sys.exit("enough")
    if kind == "result":
        return lambda: None
    try:
        raise KeyError(kind)
    except KeyError as error:
        raise ApplicationError("no", Point(1, 2), type="Declined", non_retryable=True) from error


@activity.defn(executor="process", start_to_close_timeout=MINUTE)
def sleeps(marker: str) -> None:
    """Never looks at anything; says its process."""
    Path(marker).write_text(str(os.getpid()))
    sys.stdout.write(f"{RUNS} {os.getpid()}\n")
    sys.stdout.flush()
    time.sleep(HOURS)


@activity.defn(executor="process", start_to_close_timeout=MINUTE)
def leaves() -> None:
    activity.raise_complete_async()


class Press:
    """An activity may be a method, of an instance that can be pickled."""

    def __init__(self, force: int) -> None:
        self._force = force

    @activity.defn(executor="process", start_to_close_timeout=MINUTE)
    def press(self, value: int) -> int:
        return value * self._force


go = workflow.Signal[None]("go")


@workflow.defn
async def crashes_once(how: str, marker: str) -> int:
    return await crashes(how, marker)


@workflow.defn
async def mirrors() -> list[Point]:
    """As a normal and as a local activity."""
    return [await mirrored(Point(1, 2)), await mirrored.local(Point(3, 4), twice=True)]


@workflow.defn
async def cancels(marker: str) -> str:
    handle = sleeps.with_options(cancellation_type="wait_cancellation_completed").start(marker)
    await go.channel().receive()
    handle.cancel()
    try:
        await handle
    except asyncio.CancelledError:
        return "cancelled"
    return "returned"


@workflow.defn
async def waits(marker: str) -> None:
    await sleeps(marker)


WORKFLOWS: list[workflow.Workflow[..., Any]] = [crashes_once, mirrors, cancels]
ACTIVITIES: list[object] = [crashes, mirrored, sleeps]
