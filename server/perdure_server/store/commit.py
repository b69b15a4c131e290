"""The committer's side of the store: one connection, one statement at a time, and what an error leaves behind.

An answer of Postgres with severity ERROR means that nothing was written. A connection that died, a FATAL answer (it
may come between the commit and its acknowledgement) or silence mean that nobody knows: the committer raises its
epoch, which waits for the lost transaction, and reads the batch back.
"""

from __future__ import annotations

from typing import TypeAlias

import asyncpg

from perdure_server.store.commit_rows import parameters, rows_by_kind
from perdure_server.store.commit_statement import Variant, variant
from perdure_server.store.connections import LOST, Backoff, Connection, connect, understand
from perdure_server.store.port import (
    CommitBatch,
    CommitOutcomeUnknownError,
    CommitResult,
    Fence,
    StoreUnavailableError,
)

Statement: TypeAlias = "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"

PLANNING = {
    # One plan for the life of a statement. It is often made on empty tables, so it must be right whatever the size:
    # nested loops from the batch's rows into primary keys. The tests of plans hold it to that.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


class CommitConnection:
    """Commits batches on a connection of its own; opens it anew when it was lost."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None
        self._statements: dict[Variant, Statement] = {}
        self._backoff = Backoff()

    async def commit(self, fence: Fence, batch: CommitBatch) -> CommitResult:
        """The whole batch, or nothing."""
        rows = rows_by_kind(batch)
        chosen = variant(frozenset(rows))
        bound = parameters(fence, batch, rows)
        statement = await self._prepared(chosen)
        record = await self._execute(statement, [bound[name] for name in chosen.parameters])
        return read_result(batch, record)

    async def close(self) -> None:
        """Let go of the connection; a commit in flight is cut off."""
        self._drop()

    async def _prepared(self, chosen: Variant) -> Statement:
        statement = self._statements.get(chosen)
        if statement is not None and self._connection is not None and not self._connection.is_closed():
            return statement
        try:
            connection = await self._open()
            statement = self._statements[chosen] = await connection.prepare(chosen.text)
        except LOST as error:  # nothing was sent yet that could write
            self._drop()
            raise StoreUnavailableError(str(error)) from error
        except asyncpg.PostgresError as error:
            self._drop()
            raise understand(error) from error
        return statement

    async def _open(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        self._drop()
        await self._backoff.pause()
        try:
            self._connection = await connect(self._dsn, PLANNING)
        except StoreUnavailableError:
            self._backoff.failed()
            raise
        self._backoff.succeeded()
        return self._connection

    async def _execute(self, statement: Statement, arguments: list[object]) -> asyncpg.Record:
        try:
            record = await statement.fetchrow(*arguments)
        except asyncpg.DataError as error:
            raise understand(error) from error
        except asyncpg.PostgresError as error:
            if error.severity_en != "ERROR":
                self._drop()
                raise CommitOutcomeUnknownError(str(error)) from error
            raise understand(error) from error
        except LOST as error:
            self._drop()
            raise CommitOutcomeUnknownError(str(error) or type(error).__name__) from error
        except BaseException:
            self._drop()  # cancelled in the middle: the connection is of no more use
            raise
        assert record is not None, "the report is one row"
        return record

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._statements.clear()
        if connection is not None:
            connection.terminate()


def read_result(batch: CommitBatch, record: asyncpg.Record) -> CommitResult:
    """What the report says, with run ids as the batch spells them."""
    accepted = record["accepted"] or ()
    if len(accepted) == len(batch.appends):  # the rule, and then nothing needs to be turned into text
        return CommitResult(bool(record["held"]), {append.run_id for append in batch.appends})
    return CommitResult(bool(record["held"]), {str(run_id) for run_id in accepted})
