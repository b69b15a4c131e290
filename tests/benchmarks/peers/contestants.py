"""Who is measured, and how a section is measured on each: afresh, with an empty database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.benchmarks.counts import Counts
from tests.benchmarks.figures import Figure
from tests.benchmarks.peers import usage
from tests.benchmarks.peers.command import python_words
from tests.benchmarks.peers.dbos.queue import polling_of
from tests.benchmarks.peers.restate.server import SERVICE_MODULE, Ports, register, settings
from tests.benchmarks.peers.scene import set_scene, set_scene_with_postgres
from tests.benchmarks.stack import HOST, READY_SECONDS_MAX, free_port
from tests.benchmarks.workloads import short
from tests.benchmarks.workloads.table import Section

PERDURE = "perdure"

Measure = Callable[[str, Counts], Awaitable[list[Figure]]]

SECTIONS_OF_PERDURE: dict[str, Sequence[Section]] = {
    "w1_alone": (Section("W1", short.w1_alone),),
    "w1_throughput": (Section("W1", short.w1_throughput),),
    "w2_alone": (Section("W2", short.w2_alone), Section("W2", short.w2_local_alone)),
    "w2_throughput": (Section("W2", short.w2_throughput), Section("W2", short.w2_local_throughput)),
    "w3_fan_out": (Section("W3", short.w3_fan_out),),
    "w4_signal": (Section("W4", short.w4_signal),),
}


class Contestant(Struct, frozen=True):
    name: str
    measure: Measure


def contestants(restate: Path | None) -> Iterator[Contestant]:
    """All of them, perdure first. `restate` is the server's program, if there is one."""
    yield Contestant(PERDURE, measure_perdure)
    yield Contestant("DBOS", measure_dbos)
    yield Contestant("DBOS queued", measure_dbos_queued)
    if restate is not None:
        yield Contestant("Restate", partial(measure_restate, restate))


async def measure_perdure(section: str, counts: Counts) -> list[Figure]:
    """As `make bench` does, but without its wait for statistics of Postgres: they are not compared."""
    counts = msgspec.structs.replace(counts, settle=False)
    found = [figure for one in SECTIONS_OF_PERDURE[section] for figure in await one.run(counts)]
    return [*found, *_cpu_of_all(found)]


async def measure_dbos(section: str, counts: Counts) -> list[Figure]:
    async with set_scene_with_postgres() as (scene, dsn):
        return await scene.run_client("tests.benchmarks.peers.dbos.in_process", section, counts, dsn)


async def measure_dbos_queued(section: str, counts: Counts) -> list[Figure]:
    async with set_scene_with_postgres() as (scene, dsn):
        ready = scene.folder / "ready"
        arguments = dsn, str(polling_of(section).work), str(ready)
        worker = scene.start("worker", python_words("tests.benchmarks.peers.dbos.worker", *arguments))
        await worker.until_made(ready, READY_SECONDS_MAX)
        return await scene.run_client("tests.benchmarks.peers.dbos.queued", section, counts, dsn)


async def measure_restate(program: Path, section: str, counts: Counts) -> list[Figure]:
    ports = Ports(free_port(), free_port(), free_port(), free_port())
    async with set_scene() as scene:
        scene.start("server", [str(program), "--no-logo"], settings(scene.folder, ports))
        scene.start("service", python_words(SERVICE_MODULE, str(ports.service)))
        await register(ports, scene.commands)
        ingress = f"http://{HOST}:{ports.ingress}"
        return await scene.run_client("tests.benchmarks.peers.restate.client", section, counts, ingress)


def _cpu_of_all(figures: Sequence[Figure]) -> Iterator[Figure]:
    """What the peers' figures have and those of perdure do not."""
    parts = [figure for figure in figures if figure.name in {"CPU, client", usage.WITHOUT_CLIENT}]
    for work in dict.fromkeys(figure.work for figure in parts):
        amount = sum(figure.amount for figure in parts if figure.work == work)
        yield Figure(work, usage.ALL, amount, usage.CPU_UNIT)
