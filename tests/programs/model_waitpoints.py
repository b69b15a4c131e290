"""Workflows that wait for somebody outside who has a token."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from perdure import workflow
from perdure.exceptions import ApplicationError

token = workflow.Query[[], list[str]]("token")


@dataclass
class Decision:
    """What whoever decides sends."""

    ok: bool
    why: str = ""


@workflow.defn
async def approval(timeout_s: float | None = None) -> str:
    """Waits for one decision."""
    timeout = None if timeout_s is None else timedelta(seconds=timeout_s)
    wait = workflow.waitpoint("approval", Decision, timeout=timeout)

    @token.handler
    def _() -> list[str]:
        return [wait.token, wait.url]

    try:
        decision = await wait
    except TimeoutError:
        await workflow.signal_channel("go").receive()
        return "late"
    except ApplicationError as error:
        return f"{error.type}: {error.message}"
    await asyncio.sleep(0.01)
    again = await wait
    assert again is decision
    return f"{'yes' if decision.ok else 'no'} {decision.why}".strip()


@workflow.defn
async def two() -> list[int]:
    """Two of one name, and signals that are nobody else's."""
    heard: list[str] = []

    @workflow.signal(dynamic=True)
    def _(name: str, args: list[object]) -> None:
        heard.append(name)

    first, second = workflow.waitpoint("number", int), workflow.waitpoint("number", int)

    @token.handler
    def _() -> list[str]:
        return [first.token, second.token]

    found = [await first, await second]
    assert heard == []
    return found


WORKFLOWS = (approval, two)
