"""Worker processes: the hash seed, draining by signal, the end of the parent, and the replacement of children."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from msgspec import Raw

from perdure_proto.tasks import ActivityTaskCompletion
from perdure_worker.process import hash_seed, keep_running, stop_without, supervise
from tests.unit.worker.service import Service, serve
from tests.unit.worker.wired import activity_task

FLOW = """
from perdure import activity

@activity.defn
async def seed() -> str:
    import os
    return os.environ["PYTHONHASHSEED"]
"""
PROGRAM = """
import sys
from perdure_proto.tasks import ActivityTaskCompletion
from perdure_worker.process import ProcessOptions, ensure_hash_seed, run_worker_process
ensure_hash_seed("default")
run_worker_process(ProcessOptions(targets=(sys.argv[1],), address=sys.argv[2]))
"""


async def start(tmp_path: Path, service: Service) -> asyncio.subprocess.Process:
    flow, program = tmp_path / "seed_flow.py", tmp_path / "program.py"
    flow.write_text(FLOW)
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("PYTHONHASHSEED", None)
    return await asyncio.create_subprocess_exec(
        sys.executable, str(program), str(flow), service.address, env=environment, stdout=asyncio.subprocess.DEVNULL
    )


async def test_process_runs_with_the_seed_of_its_namespace_and_drains_on_sigterm(tmp_path: Path) -> None:
    """A worker process starts itself anew with a fixed seed, runs what it found, and leaves when it is told to."""
    async with serve() as service:
        process = await start(tmp_path, service)
        (await service.polls.get()).answer()
        (await service.polls.get()).answer(activity_task("a", activity_type="seed"))
        respond = await service.responds.get()
        respond.answer()
        expected = Raw(f'"{hash_seed("default")}"'.encode())
        assert (ActivityTaskCompletion(token="a", result=expected),) == respond.request.completions
        process.send_signal(signal.SIGTERM)
        assert 0 == await process.wait()
        assert 1 == len(service.left)


def test_seed_is_what_the_interpreter_takes() -> None:
    """The seed is the namespace's own, and never 0."""
    seeds = {hash_seed(name) for name in ("default", "other", "third")}
    assert 3 == len(seeds)
    assert all(0 < int(seed) < 2**32 for seed in seeds)


async def test_process_stops_when_its_parent_is_gone() -> None:
    """A process whose parent is another than at its start stops."""
    stopped: list[bool] = []
    await stop_without(-1, lambda: stopped.append(True))
    assert [True] == stopped


async def test_child_that_dies_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a child ends, another takes its place; cancelling drains it."""
    monkeypatch.setattr("perdure_worker.process.RESTART_PAUSE_SECONDS", 0.0)
    pipe = tmp_path / "started"
    os.mkfifo(pipe)
    program = f"open({str(pipe)!r}, 'w').write('x')"
    keeping = asyncio.create_task(keep_running([sys.executable, "-c", program], 0))
    for _ in range(2):
        assert "x" == await asyncio.to_thread(pipe.read_text)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


async def test_number_of_processes_is_bounded() -> None:
    """A number that cannot be meant is refused."""
    with pytest.raises(ValueError, match="between 1 and"):
        await supervise(["true"], 0)
