"""Transactions of activities on the service's own Postgres: opened for the activity's code, ended by the worker.

Law: nothing begins before the service has allowed it, for only then does it know that the activity may complete
itself; the outcome is the last statement before the commit, for whoever closes the activity waits for it; and what did
not record its outcome is rolled back. The only module of the worker that speaks to Postgres.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from msgspec import Raw

from perdure.exceptions import ApplicationError
from perdure_proto.errors import Code
from perdure_proto.tasks import OutcomePlace

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy
    from asyncpg.transaction import Transaction as PostgresTransaction

    Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
    Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

Verdict = Literal["recorded", "settled", "sealed", "unknown"]
"""What `record_outcome` answers: only what is recorded may commit."""

CONNECTIONS_MAX: Final = 10
CONNECT_SECONDS: Final = 10.0
END_SECONDS: Final = 15.0
"""How long recording and committing may take; then the attempt has failed, and the service finds out what is true."""
RECORD: Final = (Path(__file__).parent / "transaction.sql").read_text(encoding="utf-8")


class Database:
    """The service's Postgres as this worker reaches it: the pool it was given, or one of its own, made when needed."""

    def __init__(self, url: str = "", pool: Pool | None = None) -> None:
        self._url = url
        self._given = pool
        self._made: Pool | None = None
        self._making = asyncio.Lock()

    async def acquire(self) -> Connection:
        """A connection. Raises `ApplicationError` where the worker was not told of a database."""
        async with self._making:
            pool = self._given or self._made
            if pool is None:
                pool = self._made = await make_pool(self._url)
        connection: Connection = await pool.acquire()
        return connection

    async def release(self, connection: Connection) -> None:
        """Gives it back."""
        pool = self._given or self._made
        assert pool is not None, "it came from there"
        await pool.release(connection, timeout=END_SECONDS)

    def close(self) -> None:
        """Cuts the connections of our own pool; one that was given is its owner's."""
        if self._made is not None:
            self._made.terminate()


class Transaction:
    """What `async with activity.transaction()` enters. Leaving the block commits nothing: the activity's end does."""

    def __init__(self, database: Database, allowed: Callable[[], Awaitable[OutcomePlace]], identity: str) -> None:
        self._database = database
        self._allowed = allowed
        self._identity = identity
        self._place: OutcomePlace | None = None
        self._connection: Connection | None = None
        self._transaction: PostgresTransaction | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is something to commit."""
        return self._transaction is not None

    async def __aenter__(self) -> Any:  # noqa: ANN401 - the SDK, which declares it, does not know asyncpg
        self._place = await self._allowed()
        self._connection = await self._database.acquire()
        try:
            transaction = self._connection.transaction()
            await transaction.start()
        except BaseException:
            await self.roll_back()
            raise
        self._transaction = transaction
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            await self.roll_back()

    async def commit(self, result: Raw, encoding: str) -> Verdict:
        """Records the activity's result and commits it with all else, or rolls all back and says why."""
        try:
            async with asyncio.timeout(END_SECONDS):
                verdict = await self._record(result, encoding)
                if verdict == "recorded" and self._transaction is not None:
                    await self._transaction.commit()
                    self._transaction = None
        finally:
            await self.roll_back()
        return verdict

    async def roll_back(self) -> None:
        """Undoes what was not committed, and lets go of the connection."""
        connection, self._connection = self._connection, None
        transaction, self._transaction = self._transaction, None
        if connection is None:
            return
        try:
            if transaction is not None:
                async with asyncio.timeout(END_SECONDS):
                    await transaction.rollback()
        except Exception:  # noqa: BLE001 - whatever keeps us from saying it: Postgres undoes what is cut off
            connection.terminate()
        finally:
            await self._database.release(connection)

    async def _record(self, result: Raw, encoding: str) -> Verdict:
        place, connection = self._place, self._connection
        assert place is not None, "a transaction that is open was allowed"
        assert connection is not None, "a transaction that is open has a connection"
        text = bytes(result).decode()
        if len(bytes(result)) > place.result_bytes_max:
            message = f"the result has {len(bytes(result))} bytes, the limit is {place.result_bytes_max}"
            raise ApplicationError(message, type=Code.PAYLOAD_TOO_LARGE, non_retryable=True)
        where = place.group_id, place.shard_id, place.run_id, place.scheduled_event_id
        attempt = place.attempt, place.started_at, self._identity
        verdict: Verdict = await connection.fetchval(RECORD, *where, *attempt, text, encoding)
        return verdict


async def make_pool(url: str) -> Pool:
    """A pool that connects when first used. Raises `ApplicationError` saying what is missing."""
    if not url:
        raise ApplicationError(
            "activity.transaction() needs the service's Postgres: give the worker database_url, "
            "or set PERDURE_DATABASE_URL",
            type=Code.INVALID_ARGUMENT,
        )
    try:
        import asyncpg  # noqa: PLC0415 - only workers with such activities need it
    except ImportError:
        raise ApplicationError(
            "activity.transaction() needs asyncpg: pip install 'perdure[transactions]'", type=Code.NOT_SUPPORTED
        ) from None
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=CONNECTIONS_MAX,
        timeout=CONNECT_SECONDS,
        server_settings={"application_name": "perdure-worker"},
    )
