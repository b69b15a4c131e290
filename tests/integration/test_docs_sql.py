"""The SQL that the pages show runs: for operators on a migrated database, and for whoever sets one up."""

import asyncpg
import pytest

from tests.documents import Block, pages

SQL = [block for page in pages() for block in page.blocks() if block.language == "sql"]
READING = [block for block in SQL if block.text.startswith("select")]


def test_there_is_sql() -> None:
    """The page on the log shows an operator what to ask."""
    assert "docs/explanation/the-log.md" in {block.path for block in READING}


@pytest.mark.parametrize("block", READING, ids=str)
async def test_what_an_operator_reads_with_runs(block: Block, database_url: str) -> None:
    """Each query for reading names tables and columns that are there."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(block.text)
    finally:
        await connection.close()
