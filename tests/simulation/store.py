"""The model store as a server reaches it: over a connection that is slow, breaks, and loses answers of commits.

A commit happens at one instant between its call and its answer, whether or not its caller lives to see it. What is on
its way when a connection breaks may still land, unless the epoch is raised first: that is what the fence row is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import Struct

from perdure_server.store.model import ModelStore
from perdure_server.store.port import (
    CommitBatch,
    CommitOutcomeUnknownError,
    CommitResult,
    Fence,
    StoreUnavailableError,
)
from tests.simulation.loop import SimulatedLoop, outside
from tests.simulation.trace import Trace


class StoreWeather(Struct, frozen=True, kw_only=True):
    """How bad the way to Postgres is: chances for each commit. Delays are in seconds."""

    delay_max: float = 0.002
    slow: float = 0.0
    slow_max: float = 3.0
    unavailable: float = 0.0
    unknown: float = 0.0
    """The answer is lost: whether the commit happened, did not, or happens later."""


class StoreOfHost:
    """The store over the connections of one server."""

    def __init__(self, model: ModelStore, weather: StoreWeather, loop: SimulatedLoop, trace: Trace, seed: str) -> None:
        self._model = model
        self.weather = weather
        self._loop = loop
        self._trace = trace
        self._random = Random(f"{seed}/store")
        self._name = seed.rpartition("/")[2]
        self._context = outside()
        self.is_cut = False
        self.group_id = model.group_id

    async def commit(self, fence: Fence, batch: CommitBatch) -> CommitResult:
        """One statement on the connection of the commits."""
        answer: asyncio.Future[CommitResult] = self._loop.create_future()
        fate = self._fate()
        self._later(self._delay(slow=fate == "slow"), self._arrive, fence, batch, answer, fate)
        return await answer

    def __getattr__(self, name: str) -> Any:
        """All else: asked, done at one instant, answered."""
        ask = getattr(self._model, name)

        async def asked(*args: Any, **options: Any) -> Any:
            self._check()
            if self._random.random() < 0.5:  # the delay is on the way there or on the way back
                await asyncio.sleep(self._delay())
                self._check()
                return await ask(*args, **options)
            found = await ask(*args, **options)
            await asyncio.sleep(self._delay())
            self._check()
            return found

        self.__dict__[name] = asked
        return asked

    # ---- a commit on its way ----------------------------------------------------------------------------------

    def _fate(self) -> str:
        draw = self._random.random()
        for fate in ("slow", "unavailable", "unknown"):
            chance = getattr(self.weather, fate)
            if draw < chance:
                return fate
            draw -= chance
        return ""

    def _arrive(self, fence: Fence, batch: CommitBatch, answer: asyncio.Future[CommitResult], fate: str) -> None:
        if self.is_cut or fate == "unavailable":
            self._trace.note(self._name, "commit refused")
            self._end(answer, StoreUnavailableError("the connection was refused"))
        elif fate == "unknown":
            self._lose(fence, batch, answer)
        else:
            self._land(fence, batch, answer)

    def _land(self, fence: Fence, batch: CommitBatch, answer: asyncio.Future[CommitResult] | None) -> None:
        result: CommitResult | Exception
        try:
            result = self._model.commit_now(fence, batch)
        except Exception as error:  # noqa: BLE001 - the committer's to handle
            result = error
        note_commit(self._trace, self._name, batch, result)
        if answer is not None:
            self._later(self._delay(), self._end, answer, result)

    def _lose(self, fence: Fence, batch: CommitBatch, answer: asyncio.Future[CommitResult]) -> None:
        what = self._random.choice(["did", "did not", "later"])
        self._trace.note(self._name, "commit's answer lost", what)
        if what == "did":
            self._land(fence, batch, None)
        elif what == "later":
            self._later(self._random.uniform(0.0, 0.05), self._land, fence, batch, None)
        self._later(self._delay(), self._end, answer, CommitOutcomeUnknownError("the connection died"))

    def _end(self, answer: asyncio.Future[CommitResult], value: CommitResult | Exception) -> None:
        if answer.done():
            return
        if isinstance(value, Exception):
            answer.set_exception(value)
        else:
            answer.set_result(value)

    def _check(self) -> None:
        if self.is_cut:
            raise StoreUnavailableError("the connection was refused")

    def _delay(self, *, slow: bool = False) -> float:
        return self._random.uniform(0.0, self.weather.slow_max if slow else self.weather.delay_max)

    def _later(self, delay: float, callback: Callable[..., object], *args: object) -> None:
        self._loop.call_later(delay, callback, *args, context=self._context)


def note_commit(trace: Trace, name: str, batch: CommitBatch, result: CommitResult | Exception) -> None:
    if isinstance(result, Exception):
        trace.note(name, "commit failed", repr(result))
    elif not result.fence_held:
        trace.note(name, "commit fenced off")
    else:
        for append in batch.appends:
            landed = "appended" if append.run_id in result.accepted else "append refused"
            trace.note(
                name, landed, append.run_id[-6:], f"{append.first_event_id}–{append.last_event_id}", append.events
            )
        for change in batch.changes:
            if change.close_time is not None and change.run_id in result.accepted:
                trace.closed(change.run_id)
        others = [field for field in CommitBatch.__struct_fields__[1:] if getattr(batch, field)]
        if others:
            trace.note(name, "rows", *others)
