"""How much matching holds at most, and what it says when that is reached.

The window of a queue is `EngineSettings.queue_window_max`; what is here bounds sessions and what is kept for them.
"""

from __future__ import annotations

from msgspec import Struct

from perdure_proto.errors import Code, ServiceError


class MatchingLimits(Struct, frozen=True, kw_only=True):
    """Bounds of one server's matching. Every breach is refused with `RESOURCE_EXHAUSTED` and the name of the limit."""

    sessions_max: int = 20_000
    parked_polls_max: int = 40_000
    requests_session_max: int = 32
    answers_cached_max: int = 64
    tokens_held_max: int = 20_000
    pushes_queued_max: int = 10_000
    sequences_remembered_max: int = 1_000
    slots_max: int = 2_000
    types_max: int = 2_000


def exhausted(limit: str, maximum: int, advice: str) -> ServiceError:
    """The refusal of a request that would breach a limit."""
    return ServiceError(Code.RESOURCE_EXHAUSTED, f"{limit} ({maximum}) is reached: {advice}", limit=limit, max=maximum)
