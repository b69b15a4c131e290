"""Processes of activities whose worker is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure import Client
from tests.processes import Machine, Told
from tests.programs.in_processes import RUNS, waits

pytestmark = pytest.mark.timeout(60)


async def test_a_killed_worker_leaves_no_process_behind(box: Machine) -> None:
    """Its attempt is run again elsewhere, so that it must not go on here."""
    dsn = await box.start_postgres()
    server = box.server("server-1", dsn)
    await server.restart()
    worker = box.worker("worker-1", "in_processes.py", server.address)
    await worker.start()
    async with await Client.connect(server.address) as client:
        handle = await client.start_workflow(waits, str(box.folder / "pid"), id="waits")

        def fits(told: Told) -> bool:
            return str(told.get("event", "")).startswith(RUNS)

        pid = (await worker.until_heard(fits, RUNS))["event"].split()[-1]
        assert Path(f"/proc/{pid}").exists()
        await worker.kill()  # its processes keep its output open until they end
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text():
            pass
        await handle.terminate()
