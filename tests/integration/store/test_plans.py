"""Reads for a share of the shards go by the index of their order, and stop at the end of their page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from perdure_server.store.read import QUERIES
from tests.integration.store.rows import NOW, new_run_id

GROW = (
    """insert into wakes select 1, n % 512, gen_random_uuid(), cluster_now() + n * interval '1 second', n % 10 = 0
       from generate_series(1, 30000) as n""",
    """insert into parked (group_id, shard_id, run_id, scheduled_event_id, namespace_id, task_queue, kind, priority)
       select 1, n % 512, gen_random_uuid(), 5, 1, 'orders', 'activity', n % 5 + 1
       from generate_series(1, 30000) as n""",
    "analyze wakes, parked",
)
SHARE = list(range(0, 512, 3))
SINCE, UNTIL = NOW, NOW + timedelta(days=900)
ASKED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "list_due": ("wakes_by_time", (1, SHARE, SINCE, UNTIL, 500)),
    "list_due_after": ("wakes_by_time", (1, SHARE, UNTIL, SINCE, 3, new_run_id(), 500)),
    "list_parked": ("parked_by_turn", (1, 1, "orders", "activity", SHARE, 500)),
    "list_owed": ("wakes_owed", (1, SHARE, -1, new_run_id(), 500)),
}


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("query", ASKED)
async def test_a_share_of_the_shards_is_read_in_order(
    control: asyncpg.Connection[asyncpg.Record], query: str, mode: str
) -> None:
    """No plan reads more than its page, sorts it, or looks at every run of these shards."""
    for statement in GROW:
        await control.execute(statement)
    await control.execute(f"set plan_cache_mode = {mode}")
    index, arguments = ASKED[query]
    rows = await control.fetch(f"explain {QUERIES[query]}", *arguments)
    plan = "\n".join(row[0] for row in rows)
    assert index in plan, plan
    assert "Seq Scan" not in plan, plan
