"""The tokens of waitpoints, made of what the service tells a worker before it takes its first task, and now and then.

The same on every replay: of the run, the name, its number and its end, with a key that stays until its secret is
rotated. Where no service is there (a replay from a file) no token is worth anything, and none is made. It must not know
signals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from perdure.exceptions import RPCError
from perdure_proto.ids import shard_of
from perdure_proto.service import WaitpointSettings
from perdure_proto.waitpoints import PendingWaitpoint, WaitpointToken, sealed
from perdure_worker.exchange import Exchange
from perdure_worker.token_settings import TokenSettings

if TYPE_CHECKING:
    from perdure_worker.run import Run

NO_TOKEN: Final = "no-service"  # noqa: S105 - it opens nothing
PATIENCE: Final = 10.0

REFRESH_SECONDS: Final = 60.0
"""How often a worker asks again, so that a secret that was rotated is not used for long."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_settings: Final = msgspec.json.Decoder(WaitpointSettings)


def make_token(run: Run, name: str, number: int, expires_at: datetime | None) -> tuple[str, str]:
    """The token of a waitpoint, and the address that completes it."""
    settings = run.options.waitpoints.known
    if settings is None:
        return NO_TOKEN, NO_TOKEN
    token = WaitpointToken(
        namespace_id=settings.namespace_id,
        shard_id=shard_of(run.options.namespace, run.workflow_id, settings.shards),
        run_id=run.run_id,
        number=number,
        expires_at_ms=0 if expires_at is None else (expires_at - _EPOCH) // timedelta(milliseconds=1),
        name=name,
    )
    text = sealed(token, bytes.fromhex(settings.key))
    return text, f"{settings.url.rstrip('/')}/api/v1/resume/{text}"


def pending_waitpoints(run: Run) -> list[PendingWaitpoint]:
    """Those that nobody has completed, each with the token that is good now: it may be another than the first."""
    found: list[PendingWaitpoint] = []
    for name, number, expires_at in run.waitpoints.values():
        token, url = make_token(run, name, number, expires_at)
        found.append(PendingWaitpoint(name=name, number=number, expires_at=expires_at, token=token, url=url))
    return found


async def fetch_settings(exchange: Exchange, namespace_path: str, address: str) -> WaitpointSettings | None:
    """What the service says, however long it takes; None where it refuses, as an older one does.

    A service that has no public address is where the worker reaches it.
    """
    try:
        settings = await exchange.read(f"{namespace_path}/waitpoints", _settings, patience=PATIENCE)
    except RPCError:
        return None
    return settings if settings.url else msgspec.structs.replace(settings, url=address)


async def keep_fresh(
    settings: TokenSettings,
    fetch: Callable[[], Awaitable[WaitpointSettings | None]],
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Asks again, for ever; what cannot be had stays as it was."""
    while True:
        await pause(REFRESH_SECONDS)
        settings.known = await fetch() or settings.known
