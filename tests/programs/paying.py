"""A workflow that pays in a transaction, and a worker that dies or stands still between two steps of it.

The file `step` in the folder `PAYING_CONTROL` names a step and what happens there, once: `kill` or `stop`.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg.transaction

from perdure import activity, workflow
from perdure_proto.options import RetryPolicy
from perdure_worker import transaction

CONTROL = "PAYING_CONTROL"
REACHED = "reached"
STEPS = ("asks", "begins", "has begun", "returns", "records", "has recorded", "has committed")
"""Between any two of these the test kills."""
SOON = timedelta(seconds=2)
ATTEMPTS = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_attempts=10)


def step(name: str) -> None:
    """What the test wants to happen here; the end of the activity's code is `returns`."""
    control = Path(os.environ[CONTROL]) / "step" if CONTROL in os.environ else None
    if control is None or not control.exists():
        return
    wanted, what = control.read_text().split(":")
    if wanted != name:
        return
    control.unlink()
    sys.stdout.write(f'{{"event": "{REACHED}", "step": "{name}"}}\n')
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL if what == "kill" else signal.SIGSTOP)


def between(before: str, after: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(call)
    async def stepping(*args: Any, **kwargs: Any) -> Any:
        step(before)
        result = await call(*args, **kwargs)
        step(after)
        return result

    return stepping


if CONTROL in os.environ:
    started = between("begins", "has begun", asyncpg.transaction.Transaction.start)
    committed = between("", "has committed", asyncpg.transaction.Transaction.commit)
    recorded = between("records", "has recorded", transaction.Transaction._record)
    setattr(asyncpg.transaction.Transaction, "start", started)  # noqa: B010 - a method of somebody else
    setattr(asyncpg.transaction.Transaction, "commit", committed)  # noqa: B010 - the same
    setattr(transaction.Transaction, "_record", recorded)  # noqa: B010 - the same


@activity.defn(start_to_close_timeout=timedelta(seconds=60), retry_policy=ATTEMPTS)
async def charge(order: str) -> str:
    attempt = activity.info().attempt
    step("asks")
    async with activity.transaction() as conn:
        await conn.execute("insert into payments values ($1, $2)", order, attempt)
    step("returns")
    return f"attempt {attempt}"


@workflow.defn
async def paying(order: str) -> str:
    return await charge(order)


@workflow.defn
async def paying_soon(order: str) -> str:
    return await charge.with_options(start_to_close_timeout=SOON)(order)


@workflow.defn
async def paying_once(order: str) -> str:
    return await charge.with_options(start_to_close_timeout=SOON, retry_policy=RetryPolicy(maximum_attempts=1))(order)
