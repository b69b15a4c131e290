"""Concurrency limits by key and by type, on one server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perdure.exceptions import RPCError
from perdure_proto.errors import Code
from perdure_proto.service import StartActivityRequest
from tests.integration.model.stack import Stack, stack_of
from tests.limited import at_once, make_table, noted
from tests.programs import limited as program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(postgres: str, migrated_template: str) -> AsyncIterator[Stack]:
    patch = pytest.MonkeyPatch()
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, 1000) as running:
        patch.setenv("LIMITED_DATABASE_URL", running.database_url)
        await make_table(running.database_url)
        yield running
    patch.undo()


async def test_a_key_lets_so_many_run_at_once(stack: Stack) -> None:
    """Twelve are due, three run at a time, in the order in which they were scheduled."""
    names = [f"{number:02}" for number in range(12)]
    assert names == await stack.client.execute_workflow(program.prints, names, task_queue=stack.task_queue)
    rows = [row for row in await noted(stack.database_url, program.KEY) if row["name"] in names]
    assert program.MOST == at_once(rows)
    # Two that begin together may say so in either order.
    assert all(abs(names.index(row["name"]) - place) < program.MOST for place, row in enumerate(rows))


async def test_without_a_key_the_type_is_limited(stack: Stack) -> None:
    """Across workflows: three of the type run at once."""
    client, queue = stack.client, stack.task_queue
    each = [[f"{n}-{m}" for m in range(3)] for n in range(3)]
    handles = [await client.start_workflow(program.types, names, task_queue=queue) for names in each]
    for handle in handles:
        await handle.result()
    rows = await noted(stack.database_url, "by_type")
    assert (9, program.MOST) == (len(rows), at_once(rows))


async def test_a_call_may_name_its_own_key(stack: Stack) -> None:
    """Different keys do not wait for each other."""
    names = ["one", "two", "one", "two"]
    await stack.client.execute_workflow(program.under_other_keys, names, 1, task_queue=stack.task_queue)
    rows = [row for row in await noted(stack.database_url, "free") if row["name"] in names]
    assert 2 == at_once(rows)
    assert [1, 1] == [at_once([row for row in rows if row["name"] == name]) for name in ("one", "two")]


async def test_standalone_activities_share_the_limit(stack: Stack) -> None:
    """They are of the same namespace: three at once, workflows or not."""
    client, queue = stack.client, stack.task_queue
    limited = program.free.with_options(concurrency_key="both", concurrency_max=1)
    alone = [await client.start_activity(limited, f"alone-{n}", task_queue=queue) for n in range(3)]
    assert [f"alone-{n}" for n in range(3)] == [await handle.result() for handle in alone]
    rows = await noted(stack.database_url, "free")
    assert 1 == at_once([row for row in rows if row["name"].startswith("alone")])


async def test_describe_says_who_waits_for_a_permit(stack: Stack) -> None:
    """And how many may run at once."""
    handle = await stack.client.start_workflow(program.prints, [f"{n}" for n in range(6)], task_queue=stack.task_queue)
    async with asyncio.timeout(20):
        notes: list[str] = []
        while not any(notes):
            described = await handle.describe()
            notes = [pending.note for pending in described.pending_activities if "permit" in pending.note]
    assert "waiting for a permit: at most 3 of key 'printers' run at once" == notes[0]
    await handle.result()


async def test_a_key_without_a_maximum_is_refused(stack: Stack) -> None:
    """In code at once, and by the service for those who speak HTTP."""
    with pytest.raises(ValueError, match="without concurrency_max"):
        program.free.with_options(concurrency_key="k")
    request = StartActivityRequest(activity_type="free", concurrency_key="k")
    with pytest.raises(RPCError) as refused:
        await stack.client.service.start_activity("refused", request)
    assert Code.INVALID_ARGUMENT == refused.value.code
    assert "concurrency_max" in str(refused.value)
