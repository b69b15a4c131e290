"""Restate's server and the service behind it, as the benchmark starts them. Every setting of the server is its default,
full durability among them (`rocksdb-disable-wal-fsync = false`), but for those below.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from msgspec import Struct

from tests.benchmarks.process import BenchmarkError, Process
from tests.benchmarks.stack import HOST, LOOK_EVERY_SECONDS, READY_SECONDS_MAX

SERVICE_MODULE = "tests.benchmarks.peers.restate.service"


class Ports(Struct, frozen=True):
    ingress: int
    admin: int
    node: int
    service: int


def settings(folder: Path, ports: Ports) -> dict[str, str]:
    """Places that are our own; no news of us to its makers; warnings only, for log lines cost it time."""
    return {
        "RESTATE_BASE_DIR": str(folder / "restate"),
        "RESTATE_BIND_ADDRESS": f"{HOST}:{ports.node}",
        "RESTATE_INGRESS__BIND_ADDRESS": f"{HOST}:{ports.ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"{HOST}:{ports.admin}",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
    }


async def register(ports: Ports, processes: Sequence[Process]) -> None:
    """Tell the server of the service, as soon as both are there; then both can work."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    deployment, said = {"uri": f"http://{HOST}:{ports.service}"}, "nothing"
    async with aiohttp.ClientSession(f"http://{HOST}:{ports.admin}") as session:
        while time.monotonic() < deadline:
            for process in processes:
                process.check()
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with session.post("/deployments", json=deployment) as response:
                    if response.ok:
                        return
                    said = await response.text()
            await asyncio.sleep(LOOK_EVERY_SECONDS)
    raise BenchmarkError(f"Restate did not take its service within {READY_SECONDS_MAX:.0f} s: {said}")
