"""The model store put together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from perdure_server.store.model.commit import Commits
from perdure_server.store.model.fences import Fences
from perdure_server.store.model.outcomes import Outcomes
from perdure_server.store.model.reads import RunReads
from perdure_server.store.model.secrets import Secrets
from perdure_server.store.model.tables import Tables
from perdure_server.store.model.upkeep import Upkeep
from perdure_server.store.model.visibility import Visibility


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


class ModelStore(Commits, Fences, RunReads, Outcomes, Visibility, Secrets, Upkeep):
    """The port's `Store` for one group, in memory. `now` is the clock of the cluster."""

    def __init__(self, now: Callable[[], datetime] = utc_now, *, group_id: int = 1) -> None:
        self.tables = Tables(now)
        self.group_id = group_id
