"""kill -9 of worker, server and Postgres at random moments under a running mix of activities, timers, signals, updates
and continue-as-new. A moment is a number of acknowledged calls later: so each kill also waits for life after the last.
"""

from __future__ import annotations

import os
import random
import sys

import pytest

from perdure import Client
from tests.integration.audit import audit
from tests.integration.faults.load import Load
from tests.processes import Machine
from tests.programs.mixed import mixed

pytestmark = pytest.mark.timeout(120)

KILLS_OF_EACH = 2
CALLS_BETWEEN_MAX = 25
SEED_VARIABLE = "PERDURE_TEST_SEED"


def chance() -> random.Random:
    """Moments of this run; the seed is printed, and can be given."""
    seed = int(os.environ.get(SEED_VARIABLE, random.SystemRandom().randrange(1_000_000)))
    sys.stdout.write(f"{SEED_VARIABLE}={seed}\n")
    return random.Random(seed)


@pytest.mark.parametrize("cached", ["1000", "1"])
async def test_nothing_acknowledged_is_lost_when_everything_is_killed(box: Machine, cached: str) -> None:
    """All that was acknowledged is in the results once, and every history keeps the invariants and replays."""
    moments = chance()
    dsn = await box.start_postgres()
    server = box.server("server-1", dsn)
    await server.restart()
    workers = [box.worker(f"worker-{n}", "mixed.py", server.address, "--max-cached-workflows", cached) for n in (1, 2)]
    for worker in workers:
        await worker.start()
    async with await Client.connect(server.address) as client, Load(client) as load:
        victims = ["worker", "server", "postgres"] * KILLS_OF_EACH
        moments.shuffle(victims)
        for victim in victims:
            await load.acknowledged.more(moments.randint(1, CALLS_BETWEEN_MAX))
            if victim == "postgres":
                await box.postgres.kill()
                await box.postgres.start()
            else:
                process = server if victim == "server" else moments.choice(workers)
                await process.kill()
                await process.start()
        await load.finish()
    assert len(load.callers) <= await audit(dsn, [mixed])
