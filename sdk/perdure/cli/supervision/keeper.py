"""Keeps one thing running: when it ends unasked it is started again, and said so, with pauses that grow to a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from perdure.cli.exits import Exit
from perdure.cli.supervision.background import Background
from perdure.cli.supervision.child import Child
from perdure.cli.supervision.voice import Voice
from perdure_proto.durations import format_duration

PAUSE_FIRST_SECONDS = 0.5
PAUSE_SECONDS_MAX = 8.0
STEADY_SECONDS = 10.0
"""Who lived so long starts again without a pause that grew."""

Start = Callable[[], Awaitable[Child]]


class Backoff:
    """Pauses that double from the first to the longest."""

    def __init__(self) -> None:
        self._next = PAUSE_FIRST_SECONDS

    def pause(self, lived_seconds: float) -> float:
        """How long to wait now, given how long it lived.

        >>> backoff = Backoff()
        >>> backoff.pause(0), backoff.pause(0), backoff.pause(60)
        (0.5, 1.0, 0.5)
        """
        if lived_seconds >= STEADY_SECONDS:
            self._next = PAUSE_FIRST_SECONDS
        pause, self._next = self._next, min(self._next * 2, PAUSE_SECONDS_MAX)
        return pause


class Keeper:
    """One named child that is started again until it is told to stop, or replaced by a newer one."""

    def __init__(self, name: str, start: Start, voice: Voice, tasks: Background) -> None:
        self._name = name
        self._start = start
        self._voice = voice
        self._tasks = tasks
        self._backoff = Backoff()
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def has_given_up(self) -> bool:
        """Whether it refused to start in a way that repeating does not mend."""
        return self._task is not None and self._task.done()

    async def start(self) -> Child:
        """The first start; from here on it is kept."""
        child = self._child = await self._start()
        self._task = self._tasks.start(self._keep(child))
        return child

    async def replace(self, seconds_max: float) -> None:
        """Start a newer child, then stop the older one."""
        await self._let_go()
        older = self._child
        await self.start()
        if older is not None:
            await older.stop(seconds_max)

    async def stop(self, seconds_max: float) -> None:
        """Stop, and stay so."""
        await self._let_go()
        if self._child is not None:
            await self._child.stop(seconds_max)
            self._voice.say("child_stopped", f"{self._name} stopped", child=self._name)

    def kill(self) -> None:
        """End the child at once."""
        if self._child is not None:
            self._child.kill()

    async def _let_go(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            status = await child.wait()
            if status == Exit.USAGE:
                self._say("child_refused", f"{self._name} cannot start as asked: waiting for a change", status)
                return
            pause = self._backoff.pause(loop.time() - began)
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            again = format_duration(timedelta(seconds=pause))
            self._say("child_ended", f"{self._name} {how}: starting it again in {again}", status)
            await asyncio.sleep(pause)
            child = self._child = await self._start()
            self._say("child_restarted", f"{self._name} runs again (process {child.pid})", status)

    def _say(self, event: str, text: str, status: int) -> None:
        self._voice.say(event, text, child=self._name, status=status)
