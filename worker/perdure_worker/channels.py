"""Channels: the mailbox of one signal name, in order, with nothing lost to a cancelled receive.

A value is taken when the `await` that got it goes on. One that was handed to a receive which is then cancelled goes
back to the front; what nobody took moves to the next run. It must not know history: values come with their event id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import Any


class Reception(asyncio.Future[Any]):
    """One `receive`: a future whose value goes back to the mailbox when who awaits it is cancelled."""

    def __init__(self, mailbox: Mailbox, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._mailbox = mailbox

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            value = yield from super().__await__()
        except asyncio.CancelledError:
            if self.done() and not self.cancelled():
                self._mailbox.give_back(self)
            raise
        self._mailbox.take(self)
        return value

    __iter__ = __await__


class Mailbox:
    """The channel of one signal name. `require` refuses in a query."""

    tells_what_does_not_fit = False
    """Whether a value of another type is put in as the error that it is, instead of being dropped."""

    def __init__(
        self, name: str, value_type: object, loop: asyncio.AbstractEventLoop, require: Callable[[str], None]
    ) -> None:
        self.name = name
        self.value_type = value_type
        self._loop = loop
        self._require = require
        self._values: deque[tuple[int, object]] = deque()
        self._receivers: deque[Reception] = deque()
        self._handed: dict[Reception, tuple[int, object]] = {}

    def put(self, event_id: int, value: object) -> None:
        """A signal came."""
        self._values.append((event_id, value))
        self._hand_out()

    def receive(self) -> asyncio.Future[Any]:
        """The next value; first come, first served."""
        self._require("receive()")
        reception = Reception(self, self._loop)
        self._receivers.append(reception)
        self._hand_out()
        return reception

    def receive_nowait(self) -> object:
        """The next value, if there is one."""
        self._require("receive_nowait()")
        if not self._values:
            raise asyncio.QueueEmpty
        return self._values.popleft()[1]

    def take(self, reception: Reception) -> None:
        """Who awaited the value has it."""
        self._handed.pop(reception, None)

    def give_back(self, reception: Reception) -> None:
        """Who awaited the value was cancelled before having it: it goes where it was, before all that came later."""
        value = self._handed.pop(reception, None)
        if value is not None:
            earlier = sum(event_id < value[0] for event_id, _ in self._values)
            self._values.insert(earlier, value)
            self._hand_out()

    def untaken(self) -> list[int]:
        """The event ids of what nobody took."""
        return [event_id for event_id, _ in (*self._handed.values(), *self._values)]

    def _hand_out(self) -> None:
        while self._values and self._receivers:
            reception = self._receivers.popleft()
            if not reception.done():
                self._handed[reception] = self._values.popleft()
                reception.set_result(self._handed[reception][1])
