"""The keys of waitpoint tokens: made with the newest secret, taken with each that is valid, recognised with all.

Law: a waitpoint has one token for each generation of the secret, for a worker that replays makes it anew with the
newest. Whichever completed it is the request id in the log, so all of them are looked for. It must not know runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from perdure_proto.errors import Code, ServiceError
from perdure_proto.waitpoints import WaitpointToken, key_of, opened, sealed
from perdure_server.store.port import SecretRow

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

NAME: Final = "waitpoints"
GRACE_MAX: Final = timedelta(days=3_650)
READ_AGAIN_AFTER: Final = timedelta(seconds=1)
"""A token that nothing opens may be made with a secret that another server has drawn; forged ones cost no more."""

_NOT_OURS: Final = "this token was not made by this service, or was changed"


class WaitpointKeys:
    """The secrets as one server knows them: read again every few seconds, when somebody asks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows: Sequence[SecretRow] = ()
        self._read_at: datetime | None = None

    async def current(self, namespace: str) -> bytes:
        """What the tokens of a namespace are made with."""
        await self._refresh(self._engine.settings.secrets_read_every)
        return key_of(self._rows[0].secret, namespace)

    async def rotate(self, grace: timedelta) -> datetime:
        """Draws another secret; gives the time until which the old ones are taken."""
        if not timedelta(0) <= grace <= GRACE_MAX:
            raise ServiceError(Code.INVALID_ARGUMENT, f"grace is from 0 to {GRACE_MAX.days} days, not {grace}")
        until = self._engine.now() + grace
        await self._engine.store.rotate_secret(NAME, until, self._engine.limits.secret_generations_max)
        self._read_at = None
        return until

    async def opened(self, text: str) -> tuple[WaitpointToken, list[str]]:
        """What a token says, and all tokens that its waitpoint has. Raises `WAITPOINT_TOKEN_INVALID`."""
        await self._refresh(self._engine.settings.secrets_read_every)
        found = self._open(text)
        if found is None:
            await self._refresh(READ_AGAIN_AFTER)
            await self._engine.residents.namespaces.look_again()  # another server may have made the namespace
            found = self._open(text)
        if found is None:
            raise ServiceError(Code.WAITPOINT_TOKEN_INVALID, _NOT_OURS)
        row, token = found
        if row.valid_until is not None and row.valid_until <= self._engine.now():
            message = f"the secret of this token was changed, and it was good until {row.valid_until.isoformat()}"
            raise ServiceError(Code.WAITPOINT_TOKEN_INVALID, message)
        namespace = self._engine.residents.namespaces.find_name(token.namespace_id)
        assert namespace is not None, "its key was found by the name"
        return token, [sealed(token, key_of(one.secret, namespace)) for one in self._rows]

    def _open(self, text: str) -> tuple[SecretRow, WaitpointToken] | None:
        for row in self._rows:
            token = opened(text, partial(self._key, row.secret))
            if token is not None:
                return row, token
        return None

    def _key(self, secret: bytes, namespace_id: int) -> bytes | None:
        namespace = self._engine.residents.namespaces.find_name(namespace_id)
        return None if namespace is None else key_of(secret, namespace)

    async def _refresh(self, older_than: timedelta) -> None:
        now = self._engine.now()
        if self._read_at is None or now - self._read_at >= older_than:
            self._rows = await self._engine.store.secrets(NAME)
            self._read_at = now
