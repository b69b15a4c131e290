"""Channels: the mailbox of one signal name, in order, with nothing lost to a cancelled receive.

A value is taken when the `await` that got it goes on. One that was handed to a receive which is then cancelled goes
back to the front; what nobody took moves to the next run. Where there are interceptors a value passes them in the task
that takes it, when it takes it: once in the chain of runs, and with no step more than without them. It must not know
history: values come with their event id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, NamedTuple, Protocol

KEPT_BACK: Final = object()
"""In place of a value that an interceptor did not pass on."""


class Item(NamedTuple):
    """A value with the event that brought it, and what was sent along."""

    event_id: int
    value: object
    header: Mapping[str, Any]


class Passage(Protocol):
    """What values pass before they are taken; gives `KEPT_BACK` for one that is not to be."""

    def through(self, item: Item) -> Generator[Any, Any, object]: ...

    def at_once(self, item: Item) -> object: ...


class Reception(asyncio.Future[Any]):
    """One `receive`: a future whose value goes back to the mailbox when who awaits it is cancelled."""

    def __init__(self, mailbox: Mailbox, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._mailbox = mailbox

    def __await__(self) -> Generator[Any, None, Any]:
        value = yield from self.taken()
        while value is KEPT_BACK:
            value = yield from self._mailbox.receive_next().taken()
        return value

    def taken(self) -> Generator[Any, None, object]:
        """The value, or `KEPT_BACK`."""
        mailbox = self._mailbox
        try:
            item: Item = yield from super().__await__()
            value = item.value if mailbox.passage is None else (yield from mailbox.passage.through(item))
        except asyncio.CancelledError:
            if self.done() and not self.cancelled():
                mailbox.give_back(self)
            raise
        except Exception:  # an interceptor's: the value is used up, as with one whose handler raises
            mailbox.take(self)
            raise
        mailbox.take(self)
        return value

    __iter__ = __await__


class Mailbox:
    """The channel of one signal name. `require` refuses in a query."""

    tells_what_does_not_fit = False
    """Whether a value of another type is put in as the error that it is, instead of being dropped."""

    passage: Passage | None = None
    """The interceptors, where there are any."""

    def __init__(
        self, name: str, value_type: object, loop: asyncio.AbstractEventLoop, require: Callable[[str], None]
    ) -> None:
        self.name = name
        self.value_type = value_type
        self._loop = loop
        self._require = require
        self._values: deque[Item] = deque()
        self._receivers: deque[Reception] = deque()
        self._handed: dict[Reception, Item] = {}

    def put(self, item: Item) -> None:
        """A signal came."""
        self._values.append(item)
        self._hand_out()

    def receive(self) -> asyncio.Future[Any]:
        """The next value; first come, first served."""
        self._require("receive()")
        reception = Reception(self, self._loop)
        self._receivers.append(reception)
        self._hand_out()
        return reception

    def receive_next(self) -> Reception:
        """As `receive`, before all others that wait: who got a value that was kept back had its turn."""
        reception = Reception(self, self._loop)
        self._receivers.appendleft(reception)
        self._hand_out()
        return reception

    def receive_nowait(self) -> object:
        """The next value, if there is one."""
        self._require("receive_nowait()")
        while self._values:
            item = self._values.popleft()
            value = item.value if self.passage is None else self.passage.at_once(item)
            if value is not KEPT_BACK:
                return value
        raise asyncio.QueueEmpty

    def take(self, reception: Reception) -> None:
        """Who awaited the value has it."""
        self._handed.pop(reception, None)

    def give_back(self, reception: Reception) -> None:
        """Who awaited the value was cancelled before having it: it goes where it was, before all that came later."""
        item = self._handed.pop(reception, None)
        if item is not None:
            earlier = sum(other.event_id < item.event_id for other in self._values)
            self._values.insert(earlier, item)
            self._hand_out()

    def untaken(self) -> list[int]:
        """The event ids of what nobody took."""
        return [item.event_id for item in (*self._handed.values(), *self._values)]

    def _hand_out(self) -> None:
        while self._values and self._receivers:
            reception = self._receivers.popleft()
            if not reception.done():
                self._handed[reception] = self._values.popleft()
                reception.set_result(self._handed[reception])
