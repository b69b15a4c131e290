# mypy: disable-error-code="untyped-decorator, no-any-return"
# dbos is not installed where mypy runs.
"""The workflows for DBOS, and how it is configured: used by the application in process and by the worker of a queue.

Workflows and steps are plain functions, which run in threads. Against coroutines, five times in alternation and twice,
their throughput was better: W1 at 200 in flight by a tenth to a fifth, W2 by a quarter to a third; alone there was no
clear difference. Only the fan-out is a coroutine, so that its steps can be gathered.
"""

from __future__ import annotations

import asyncio

from dbos import DBOS  # type: ignore[import-not-found]

from tests.benchmarks.peers.parcel import Parcel

NAME = "benchmark"
TOPIC = "approve"


@DBOS.step()
def handle(parcel: Parcel) -> Parcel:
    return parcel


@DBOS.step()
async def handle_at_once(parcel: Parcel) -> Parcel:
    return parcel


@DBOS.workflow()
def once(parcel: Parcel) -> Parcel:
    return handle(parcel)


@DBOS.workflow()
def in_sequence(parcel: Parcel, steps: int) -> int:
    return sum(handle(Parcel(parcel.number + step, parcel.text)).number for step in range(steps))


@DBOS.workflow()
async def fan_out(width: int) -> list[int]:
    done = await asyncio.gather(*(handle_at_once(Parcel(number)) for number in range(width)))
    return [parcel.number for parcel in done]


@DBOS.workflow()
def wait_for_approval() -> Parcel:
    return DBOS.recv(TOPIC)


def launch(dsn: str) -> None:
    """Start DBOS in this process. What is not said here is its default: LISTEN/NOTIFY wakes `recv`, threads for
    workflows are not limited, the pool has 20 connections (10 and 50 were not clearly better, in single runs),
    telemetry is off.
    """
    DBOS(
        config={
            "name": NAME,
            "system_database_url": driver_url(dsn),
            # A line for each workflow would cost it time.
            "log_level": "ERROR",
            "console_log_level": "ERROR",
        }
    )
    DBOS.launch()


def driver_url(dsn: str) -> str:
    """The DSN as SQLAlchemy wants it, with psycopg 3."""
    return dsn.replace("postgresql://", "postgresql+psycopg://", 1)
