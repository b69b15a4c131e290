"""The migration runner against a real Postgres: forward only, once, and clear about what does not fit."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from asyncpg.types import ServerVersion

from perdure_server.store import migrate as runner
from perdure_server.store.migrate import check_schema, migrate
from perdure_server.store.migration_files import MigrationFilesError, read_migrations

Connection = asyncpg.Connection


def write(folder: Path, version: int, script: str) -> None:
    (folder / f"{version:04}_step.sql").write_text(script)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, 1, "create table first (id int); insert into first values (1);")
    write(tmp_path, 2, "create table second (id int);")
    return tmp_path


@pytest_asyncio.fixture
async def connection(empty_database_url: str) -> AsyncIterator["Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def test_applies_all_in_order(connection: "Connection[asyncpg.Record]", folder: Path) -> None:
    """An empty database gets every migration, and the table says so."""
    applied = await migrate(connection, folder=folder)
    rows = await connection.fetch("select version, name, checksum from schema_migrations order by version")
    assert [1, 2] == [one.version for one in applied]
    assert [(one.version, "step", one.checksum) for one in applied] == [tuple(row) for row in rows]
    assert await connection.fetchval("select id from first") == 1


async def test_applies_each_once(empty_database_url: str, folder: Path) -> None:
    """A second run, by DSN, applies only what was added since."""
    await migrate(empty_database_url, folder=folder)
    assert await migrate(empty_database_url, folder=folder) == []
    write(folder, 3, "create table third (id int);")
    assert [3] == [one.version for one in await migrate(empty_database_url, folder=folder)]


async def test_two_servers_race(empty_database_url: str, folder: Path) -> None:
    """Of two servers that migrate at once, one does all of it and the other finds it done."""
    both = await asyncio.gather(migrate(empty_database_url, folder=folder), migrate(empty_database_url, folder=folder))
    assert [0, 2] == sorted(len(applied) for applied in both)


async def test_failed_migration_leaves_nothing(connection: "Connection[asyncpg.Record]", folder: Path) -> None:
    """A migration that fails in the middle is undone, those before it stay, and the lock is free again."""
    write(folder, 3, "create table half (id int); select 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, folder=folder)
    assert await connection.fetchval("select to_regclass('half')") is None
    write(folder, 3, "create table half (id int);")
    assert [3] == [one.version for one in await migrate(connection, folder=folder)]


async def test_lock_is_released(empty_database_url: str, folder: Path) -> None:
    """The advisory lock does not outlive the run, whatever happens to the connection after it."""
    connection = await asyncpg.connect(empty_database_url)
    await migrate(connection, folder=folder)
    assert await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
    await connection.close()


async def test_waiting_for_the_lock_is_bounded(
    connection: "Connection[asyncpg.Record]", empty_database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that cannot get the lock in time says that someone else is migrating."""
    monkeypatch.setattr(runner, "LOCK_SECONDS_MAX", 0.05)
    await connection.execute("select pg_advisory_lock($1)", runner.LOCK_KEY)
    with pytest.raises(runner.SchemaLockedError, match="another process has been migrating"):
        await migrate(empty_database_url, folder=folder)


async def test_too_old(connection: "Connection[asyncpg.Record]", folder: Path) -> None:
    """A schema that lacks migrations is refused with both versions and what to run."""
    with pytest.raises(runner.SchemaTooOldError, match=r"has version 0, this perdure needs 2: run 'perdure migrate'"):
        await check_schema(connection, folder=folder)
    await migrate(connection, folder=folder)
    await check_schema(connection, folder=folder)
    write(folder, 3, "create table third (id int);")
    with pytest.raises(runner.SchemaTooOldError, match="has version 2, this perdure needs 3"):
        await check_schema(connection, folder=folder)


async def test_too_new(connection: "Connection[asyncpg.Record]", folder: Path) -> None:
    """A schema from a newer perdure is refused by check and by migrate."""
    await migrate(connection, folder=folder)
    (folder / "0002_step.sql").unlink()
    for refused in (check_schema, migrate):
        with pytest.raises(runner.SchemaTooNewError, match="has version 2, this perdure knows 1: upgrade perdure"):
            await refused(connection, folder=folder)


async def test_edited_migration(connection: "Connection[asyncpg.Record]", folder: Path) -> None:
    """A migration edited after it was applied is noticed by its checksum."""
    await migrate(connection, folder=folder)
    write(folder, 1, "create table first (id bigint);")
    with pytest.raises(runner.SchemaChangedError, match=r"migration 1 \(step\)"):
        await migrate(connection, folder=folder)


async def test_lives_in_the_search_path(connection: "Connection[asyncpg.Record]", folder: Path) -> None:
    """Another schema of the same database is migrated by itself, also if public was migrated before."""
    await migrate(connection, folder=folder)
    await connection.execute("create schema tenant; set search_path to tenant, public")
    assert len(await migrate(connection, folder=folder)) == 2
    assert await connection.fetchval("select to_regclass('tenant.first') is not null")


async def test_missing_schema(connection: "Connection[asyncpg.Record]", folder: Path) -> None:
    """A search path that leads nowhere is an error of its own."""
    await connection.execute("set search_path to nowhere")
    with pytest.raises(runner.SchemaMissingError, match="create it"):
        await migrate(connection, folder=folder)


async def test_old_postgres(connection: "Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch) -> None:
    """A Postgres below the oldest supported one is named with what is needed."""
    old = ServerVersion(13, 9, 0, "final", 0)
    monkeypatch.setattr(asyncpg.Connection, "get_server_version", lambda _self: old)
    with pytest.raises(runner.PostgresTooOldError, match=r"13\.9, perdure needs 14 or newer"):
        runner.check_postgres(connection)


def test_gaps_are_refused(folder: Path) -> None:
    """Migrations must be numbered without gaps."""
    write(folder, 4, "select 1;")
    with pytest.raises(MigrationFilesError, match="0001, 0002, 0004"):
        read_migrations(folder)
