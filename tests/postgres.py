"""The Postgres that tests use: one embedded server for a session, one database of its own for each test. A database
is a copy of a migrated template, which costs some 20 ms instead of running the migrations.
"""

import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from perdure_server.embedded import EmbeddedPostgres
from perdure_server.store.migrate import migrate

# What a session may lose if the machine loses power: nothing that a test looks at.
FORGETFUL: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}
TEMPLATE = "perdure_template"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that the account running Postgres can reach, which pytest's own (0700) is not when root runs tests."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def run_postgres(settings: Mapping[str, str] | None) -> AsyncIterator[str]:
    """Run a Postgres of our own for as long as the block lasts, and give its DSN."""
    with scratch_folder() as folder:
        server = EmbeddedPostgres(folder / "data", settings=settings)
        dsn = await server.start()
        try:
            yield dsn
        finally:
            await server.stop()


def with_database(dsn: str, database: str) -> str:
    parts = urlsplit(dsn)
    # Not _replace alone: an empty host must keep its slashes.
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", parts.query, parts.fragment))


@asynccontextmanager
async def fresh_database(dsn: str, *, template: str = "template0") -> AsyncIterator[str]:
    """Create a database for one test and give its DSN; it is dropped whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    await execute(dsn, f'create database "{name}" template "{template}"')
    try:
        yield with_database(dsn, name)
    finally:
        await execute(dsn, f'drop database "{name}" with (force)')


async def create_template(dsn: str) -> str:
    """Create the migrated template once, and return its name."""
    await execute(dsn, f'create database "{TEMPLATE}" template template0')
    await migrate(with_database(dsn, TEMPLATE))
    return TEMPLATE


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
