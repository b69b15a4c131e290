"""A workflow that reads the wall clock, which is found when it is registered."""

from __future__ import annotations

from datetime import UTC, datetime

from perdure import workflow


@workflow.defn
async def tell() -> str:
    return datetime.now(UTC).isoformat()
