"""What a worker makes tokens with: asked for before the first task, and now and then."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.exceptions import RPCError
from perdure_proto.codec import encoder
from perdure_proto.errors import Code
from perdure_proto.service import WaitpointSettings
from perdure_worker.exchange import Exchange
from perdure_worker.token_settings import TokenSettings
from perdure_worker.waitpoints import fetch_settings, keep_fresh

SETTINGS = WaitpointSettings(key="ab", namespace_id=1, shards=8)
PATH = "/api/v1/namespaces/default"


class ScriptedTransport:
    """Answers one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    async def send(self, method: str, path: str, data: bytes | None, timeout: float) -> bytes:
        self.asked.append((method, path))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return encoder.encode(answer)


async def at_once(seconds: float) -> None:
    """No pause."""


async def fetch(*answers: Any) -> tuple[WaitpointSettings | None, ScriptedTransport]:
    transport = ScriptedTransport(*answers)
    return await fetch_settings(Exchange(transport, pause=at_once), PATH, "http://here:7233"), transport


@pytest.mark.parametrize(
    ("told", "url"), [("", "http://here:7233"), ("https://perdure.example.org", "https://perdure.example.org")]
)
async def test_the_address_is_public_or_the_workers_own(told: str, url: str) -> None:
    """A service that does not say where others find it is where the worker does."""
    settings = WaitpointSettings(key="ab", namespace_id=1, shards=8, url=told)
    found, transport = await fetch(settings)
    assert found is not None
    assert (url, [("GET", f"{PATH}/waitpoints")]) == (found.url, transport.asked)


async def test_a_service_that_is_away_is_waited_for() -> None:
    """A worker may be started before its service."""
    away = RPCError("away", code=Code.UNAVAILABLE, status=503)
    found, transport = await fetch(away, away, SETTINGS)
    assert found is not None
    assert 3 == len(transport.asked)


async def test_a_service_that_does_not_know_it_is_good_enough() -> None:
    """The worker runs; its waitpoints have no tokens."""
    found, _ = await fetch(RPCError("no such path", code=Code.NOT_FOUND, status=404))
    assert found is None


async def test_a_rotated_secret_is_learnt_of() -> None:
    """The next answer is used; where there is none, what was known stays."""
    settings, answers = TokenSettings(SETTINGS), [None, WaitpointSettings(key="cd", namespace_id=1, shards=8)]
    known: list[str] = []

    async def fetch() -> WaitpointSettings | None:
        return answers.pop(0)

    async def pause(seconds: float) -> None:
        assert settings.known is not None
        known.append(settings.known.key)
        if not answers:
            raise StopPausingError

    with pytest.raises(StopPausingError):
        await keep_fresh(settings, fetch, pause)
    assert ["ab", "ab", "cd"] == known


class StopPausingError(Exception):
    pass
