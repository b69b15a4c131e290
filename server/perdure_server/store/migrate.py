"""Brings the database's schema forward, never back: each migration once, in its own transaction, under an advisory
lock, so servers that start together do no harm. Also says, before anything else runs, whether the database fits this
perdure. Everything lives in the first existing schema of the connection's search path.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import asyncpg

from perdure_server.store.migration_files import Migration, read_migrations
from perdure_server.store.queries import load_queries

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

POSTGRES_MAJOR_MIN = 14
LOCK_KEY = 0x70657264757265  # "perdure"; advisory locks are apart for each database
LOCK_SECONDS_MAX = 600.0  # another server may be in the middle of a long migration

QUERIES = load_queries("migrate.sql")


class SchemaError(Exception):
    """The database does not fit this perdure; the message says what to do about it."""

    code: ClassVar[str] = "schema"


class SchemaTooOldError(SchemaError):
    code = "schema_too_old"


class SchemaTooNewError(SchemaError):
    code = "schema_too_new"


class SchemaChangedError(SchemaError):
    code = "schema_changed"


class SchemaMissingError(SchemaError):
    code = "schema_missing"


class SchemaLockedError(SchemaError):
    code = "schema_locked"


class PostgresTooOldError(SchemaError):
    code = "postgres_too_old"


async def migrate(database: "Connection | str", *, folder: Path | None = None) -> list[Migration]:
    """Apply what is missing, given a connection or a DSN, and return what was applied."""
    migrations = read_migrations(folder)
    if not isinstance(database, str):
        return await _migrate(database, migrations)
    connection = await asyncpg.connect(database)
    try:
        return await _migrate(connection, migrations)
    finally:
        await connection.close()


async def check_schema(connection: "Connection", *, folder: Path | None = None) -> None:
    """Raise unless the schema is the one this perdure was made for."""
    check_postgres(connection)
    await _check_search_path(connection)
    migrations = read_migrations(folder)
    found, needed = await _read_version(connection, migrations), len(migrations)
    if found < needed:
        raise SchemaTooOldError(
            f"the database's schema has version {found}, this perdure needs {needed}: run 'perdure migrate'"
        )


def check_postgres(connection: "Connection") -> None:
    """Raise if the Postgres is older than perdure can use."""
    found = connection.get_server_version()
    if found.major < POSTGRES_MAJOR_MIN:
        raise PostgresTooOldError(
            f"the database runs on PostgreSQL {found.major}.{found.minor}, "
            f"perdure needs {POSTGRES_MAJOR_MIN} or newer: upgrade PostgreSQL"
        )


async def _migrate(connection: "Connection", migrations: list[Migration]) -> list[Migration]:
    assert not connection.is_in_transaction(), "each migration commits by itself"
    check_postgres(connection)
    await _check_search_path(connection)
    async with _lock(connection):
        # Read under the lock: whoever held it before may have applied everything.
        found = await _read_version(connection, migrations)
        for migration in migrations[found:]:
            await _apply(connection, migration)
        return migrations[found:]


async def _apply(connection: "Connection", migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(QUERIES["create_table"])
        await connection.execute(migration.script)
        await connection.execute(QUERIES["insert_applied"], migration.version, migration.name, migration.checksum)


async def _read_version(connection: "Connection", migrations: list[Migration]) -> int:
    """Return the number of the last migration applied, having compared all of them with ours."""
    if not await connection.fetchval(QUERIES["find_table"]):
        return 0
    applied = await connection.fetch(QUERIES["list_applied"])
    if len(applied) > len(migrations):
        raise SchemaTooNewError(
            f"the database's schema has version {applied[-1]['version']}, this perdure knows {len(migrations)}: "
            "upgrade perdure"
        )
    for row, migration in zip(applied, migrations, strict=False):
        if (row["version"], row["checksum"]) != (migration.version, migration.checksum):
            raise SchemaChangedError(
                f"migration {row['version']} ({row['name']}) was applied in another form than this perdure has: "
                "it was edited after its release; use the perdure that applied it, or an empty database"
            )
    return len(applied)


async def _check_search_path(connection: "Connection") -> None:
    if await connection.fetchval(QUERIES["find_schema"]) is None:
        raise SchemaMissingError(
            "no schema of the connection's search_path exists: create it, or correct the search_path"
        )


@asynccontextmanager
async def _lock(connection: "Connection") -> AsyncIterator[None]:
    # A lock of the session, not of a transaction: it spans the transactions of all migrations.
    try:
        await connection.execute(QUERIES["lock_migrations"], LOCK_KEY, timeout=LOCK_SECONDS_MAX)
    except TimeoutError:
        raise SchemaLockedError(
            f"another process has been migrating this database for {LOCK_SECONDS_MAX:.0f} s: wait for it, or end it"
        ) from None
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute(QUERIES["unlock_migrations"], LOCK_KEY)
