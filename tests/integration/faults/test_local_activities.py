"""Local activities of a worker that is killed."""

from __future__ import annotations

import pytest

from perdure import Client
from tests.integration.audit import audit
from tests.processes import Machine, Process
from tests.programs.local_steps import BEGINS, steps

pytestmark = pytest.mark.timeout(120)


def begun(worker: Process) -> list[str]:
    return [told["event"].split()[-1] for told in worker.said if str(told.get("event", "")).startswith(BEGINS)]


async def test_what_a_marker_tells_of_runs_no_more(box: Machine) -> None:
    """Killed in its second step, with no marker of that yet, a workflow goes on elsewhere with the second."""
    dsn = await box.start_postgres()
    server = box.server("server-1", dsn)
    await server.restart()
    first = box.worker("worker-1", "local_steps.py", server.address)
    await first.start()
    gate = box.folder / "gate"
    async with await Client.connect(server.address) as client:
        handle = await client.start_workflow(steps, str(gate), id="steps")
        await first.until_said(f"{BEGINS} second")
        await first.kill()
        gate.touch()
        second = box.worker("worker-2", "local_steps.py", server.address)
        await second.start()
        assert ["first", "second", "third"] == await handle.result()
    assert (["first", "second"], ["second", "third"]) == (begun(first), begun(second))
    assert 1 == await audit(dsn, [steps])
