"""`schema.sql` is what the migrations make, and the schema says what it is for."""

from __future__ import annotations

import asyncpg

from perdure_proto.ids import shard_of
from perdure_server.store.migrate import migrate
from perdure_server.store.migration_files import find_folder
from tests.postgres import fresh_database

BOOKKEEPING = "schema_migrations"
CATALOG = {
    "columns": """
        select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
          a.attcompression, pg_get_expr(d.adbin, d.adrelid)
        from pg_class as c join pg_attribute as a on a.attrelid = c.oid
        left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v') and a.attnum > 0
        order by c.relname, a.attnum""",
    "tables": """
        select c.relname, c.relkind, c.reloptions, obj_description(c.oid) from pg_class as c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'S') order by c.relname""",
    "indexes": "select tablename, indexdef from pg_indexes where schemaname = 'public' order by indexname",
    "constraints": """
        select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = 'public'::regnamespace order by 1, 2""",
    "views": "select viewname, definition from pg_views where schemaname = 'public' order by viewname",
    "functions": """
        select proname, pg_get_functiondef(oid), obj_description(oid) from pg_proc
        where pronamespace in ('public'::regnamespace, 'perdure_transactions'::regnamespace) order by proname""",
    "rights": """
        select proname, proacl::text from pg_proc
        where pronamespace = 'perdure_transactions'::regnamespace order by proname""",
    "namespaces": "select name, description, retention from namespaces order by name",
}


async def describe(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    """Everything that makes up a schema, read from the catalog."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = {name: await connection.fetch(query) for name, query in CATALOG.items()}
    finally:
        await connection.close()
    return {name: [tuple(row) for row in found if row[0] != BOOKKEEPING] for name, found in rows.items()}


async def test_schema_is_the_sum_of_the_migrations(postgres: str, empty_database_url: str) -> None:
    """A database made from `schema.sql` is the same as one made by the migrations."""
    await migrate(empty_database_url)
    async with fresh_database(postgres) as other:
        connection = await asyncpg.connect(other)
        await connection.execute((find_folder() / "schema.sql").read_text(encoding="utf-8"))
        await connection.close()
        assert await describe(other) == await describe(empty_database_url)


async def test_every_table_says_what_it_is_for(database_url: str) -> None:
    """Each table, view and function has a comment."""
    schema = await describe(database_url)
    assert [] == [row[0] for row in schema["tables"] if row[1] != b"S" and not row[3]]
    assert [] == [row[0] for row in schema["functions"] if not row[2]]


async def test_events_are_read_one_a_line(control: asyncpg.Connection[asyncpg.Record]) -> None:
    """The view unpacks the rows of the log."""
    await control.execute(
        "insert into history values (1, 3, '0198c5f5-0000-7000-8000-000000000001', 1, 2, "
        '\'[{"event_type": "A", "event_id": 1, "event_time": "2026-01-01T00:00:00Z"}, '
        '{"event_type": "B", "event_id": 2, "event_time": "2026-01-01T00:00:01Z"}]\')'
    )
    rows = await control.fetch("select event_id, event_type, event ->> 'event_time' from history_events order by 1")
    assert [(1, "A", "2026-01-01T00:00:00Z"), (2, "B", "2026-01-01T00:00:01Z")] == [tuple(row) for row in rows]


async def test_shards_are_the_same_in_sql(control: asyncpg.Connection[asyncpg.Record]) -> None:
    """SQL and Python agree on the shard of a workflow id."""
    ids = ["order-1", "", "größer", "注文", "x" * 255]
    assert [shard_of("default", each, 512) for each in ids] == [
        await control.fetchval("select shard_of('default', $1, 512)", each) for each in ids
    ]
