"""Outcomes and seals: who was first, whose seal it is, what retention waits for, and what a worker's role can do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
import pytest_asyncio

from perdure_server.store.port import ActivityKey, CommitBatch, Fence, RunChange, Store, StoreUnavailableError
from perdure_worker.transaction import RECORD
from tests.integration.store.rows import NOW, SHARD, begin, merge, new_run_id
from tests.integration.store.waiting import Control, until_waiting

SCHEDULED = 5


def new_seal() -> str:
    return str(uuid.uuid4())


@pytest_asyncio.fixture
async def key(store: Store, fence: Fence) -> ActivityKey:
    """An activity of a run that was closed long ago, so that retention wants it."""
    run_id = new_run_id()
    closed = RunChange(SHARD, run_id, 2, NOW - timedelta(days=900), 2)
    await store.commit(fence, merge(begin(run_id), CommitBatch(changes=[closed])))
    return ActivityKey(SHARD, run_id, SCHEDULED)


@pytest_asyncio.fixture
async def user(database_url: str) -> AsyncIterator[Control]:
    """A connection of a worker."""
    connection = await asyncpg.connect(database_url)
    yield connection
    connection.terminate()


async def record(user: Control, key: ActivityKey, attempt: int = 1) -> str:
    where = 1, key.shard_id, key.run_id, key.scheduled_event_id
    verdict: str = await user.fetchval(RECORD, *where, attempt, NOW, "w1", '{"a": 1}', "")
    return verdict


async def test_the_first_of_outcome_and_seal_wins(store: Store, fence: Fence, key: ActivityKey, user: Control) -> None:
    """What is recorded cannot be sealed, what is sealed cannot be recorded, and a second attempt is told."""
    other = ActivityKey(SHARD, key.run_id, SCHEDULED + 1)
    assert "recorded" == await record(user, key)
    assert "settled" == await record(user, key, attempt=2)
    found = await store.seal_outcome(fence, key, new_seal())
    assert found is not None
    assert ("", 1, NOW, "w1", b'{"a": 1}') == (
        found.seal,
        found.attempt,
        found.started_at,
        found.identity,
        found.result,
    )
    seal = new_seal()
    sealed = await store.seal_outcome(fence, other, seal)
    assert sealed is not None
    assert seal == sealed.seal
    assert "sealed" == await record(user, other)
    assert {"", seal} == {row.seal for row in await store.outcomes([key, other, ActivityKey(SHARD, key.run_id, 99)])}


async def test_a_seal_is_taken_over(store: Store, fence: Fence, key: ActivityKey, user: Control) -> None:
    """Who set the former seal can no longer take it away: whoever closed the activity behind the new one is safe."""
    former, seal = new_seal(), new_seal()
    await store.seal_outcome(fence, key, former)
    await store.seal_outcome(fence, key, seal)
    await store.unseal_outcome(fence, key, former)
    assert "sealed" == await record(user, key)
    await store.unseal_outcome(fence, key, seal)
    assert "recorded" == await record(user, key)


async def test_an_outcome_is_never_unsealed(store: Store, fence: Fence, key: ActivityKey, user: Control) -> None:
    """What committed stays."""
    await record(user, key)
    await store.unseal_outcome(fence, key, new_seal())
    assert "settled" == await record(user, key, attempt=2)


async def test_a_zombie_neither_seals_nor_unseals(store: Store, fence: Fence, key: ActivityKey, user: Control) -> None:
    """A server whose fence is lost changes nothing that its successor builds on."""
    other, seal = ActivityKey(SHARD, key.run_id, SCHEDULED + 1), new_seal()
    await store.seal_outcome(fence, key, seal)
    await store.raise_epoch(fence)
    assert await store.seal_outcome(fence, other, new_seal()) is None
    assert "recorded" == await record(user, other)
    await store.unseal_outcome(fence, key, seal)
    assert "sealed" == await record(user, key)


async def test_a_seal_waits_for_who_has_recorded(
    store: Store, fence: Fence, key: ActivityKey, user: Control, control: Control
) -> None:
    """Until the attempt has committed nobody knows; a wait that is too long says so."""
    transaction = user.transaction()
    await transaction.start()
    await record(user, key)
    with pytest.raises(StoreUnavailableError):
        await store.seal_outcome(fence, key, new_seal())
    sealing = asyncio.create_task(store.seal_outcome(fence, key, new_seal()))
    await until_waiting(control, 1)
    await transaction.commit()
    found = await sealing
    assert found is not None
    assert "" == found.seal


async def test_who_has_recorded_is_not_waited_for_forever(user: Control, key: ActivityKey) -> None:
    """Between record and commit Postgres ends the transaction of a worker that has stopped; after it no more."""
    async with user.transaction():
        await record(user, key)
        assert "5s" == await user.fetchval("show idle_in_transaction_session_timeout")
    assert "0" == await user.fetchval("show idle_in_transaction_session_timeout")


async def test_outcomes_go_with_their_run(store: Store, key: ActivityKey, user: Control) -> None:
    """And after that nothing of it can be recorded, for no seal would be there any more."""
    await record(user, key)
    assert 1 == await store.delete_expired([SHARD], 10)
    assert [] == await store.outcomes([key])
    assert "unknown" == await record(user, key)


async def test_retention_waits_for_who_has_recorded(store: Store, key: ActivityKey, user: Control) -> None:
    """A run does not go from under a transaction that found it: else its outcome would stand behind no seal."""
    transaction = user.transaction()
    await transaction.start()
    await record(user, key)
    with pytest.raises(StoreUnavailableError):
        await store.delete_expired([SHARD], 10)
    await transaction.commit()
    assert 1 == await store.delete_expired([SHARD], 10)
    assert [] == await store.outcomes([key])


async def test_commits_do_not_wait_for_who_has_recorded(
    store: Store, fence: Fence, key: ActivityKey, user: Control
) -> None:
    """The visibility row of the run changes under the transaction that holds it."""
    async with user.transaction():
        await record(user, key)
        await store.commit(fence, CommitBatch(changes=[RunChange(SHARD, key.run_id, 5, NOW, 2)]))


async def test_a_role_needs_the_function_and_nothing_else(control: Control, user: Control, key: ActivityKey) -> None:
    """Without a grant it can do nothing; with it, record and not read; and its own tables mislead nobody."""
    role = f"app_{uuid.uuid4().hex}"
    await control.execute(f'create role "{role}"')
    try:
        await user.execute(f'set role "{role}"')
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await record(user, key)
        await control.execute(f'grant usage on schema perdure_transactions to "{role}"')
        await control.execute(f'grant execute on all functions in schema perdure_transactions to "{role}"')
        await user.execute("create temp table outcomes (a int); create temp table executions (a int)")
        assert "recorded" == await record(user, key)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await user.execute("select * from public.outcomes")
        assert 1 == await control.fetchval("select count(*) from outcomes")
    finally:
        await user.execute("reset role; discard temp")
        await control.execute(f'drop owned by "{role}"; drop role "{role}"')
