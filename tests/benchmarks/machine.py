"""What the numbers were measured on: nothing in them means anything without it."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import psutil
from msgspec import Struct

import perdure
from tests.postgres import run_postgres

FLUSHES = 200
PAGE = b"\0" * 8192


class Machine(Struct, frozen=True, kw_only=True):
    """One machine at one time."""

    measured_at: datetime
    system: str
    cpu: str
    cores: int
    memory_gib: float
    python: str
    postgres: str
    perdure: str
    flush_microseconds: float
    """Median of writing 8 KiB and making it durable, where the database lies."""
    load_before: float
    """Processes that wanted a core in the minute before: much above 0 means that others were measured too."""


async def describe_machine() -> Machine:
    load = os.getloadavg()[0]
    postgres = await _postgres_version()
    return Machine(
        measured_at=datetime.now(UTC).replace(microsecond=0),
        system=f"{platform.system()} {platform.release()}",
        cpu=_cpu_model(),
        cores=psutil.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        python=platform.python_version(),
        postgres=postgres,
        perdure=perdure.__version__,
        flush_microseconds=round(_flush_seconds() * 1e6, 1),
        load_before=round(load, 2),
    )


async def _postgres_version() -> str:
    async with run_postgres(None) as dsn:
        connection = await asyncpg.connect(dsn)
        version = await connection.fetchval("show server_version")
        await connection.close()
    return str(version)


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _flush_seconds() -> float:
    flush = getattr(os, "fdatasync", os.fsync)
    seconds = []
    with tempfile.TemporaryFile() as file:
        for _ in range(FLUSHES):
            file.seek(0)
            file.write(PAGE)
            file.flush()
            before = time.perf_counter()
            flush(file.fileno())
            seconds.append(time.perf_counter() - before)
    return statistics.median(seconds)
