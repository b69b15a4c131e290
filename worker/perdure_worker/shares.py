"""What each link asks for of the slots that all links share.

Alone, a link asks as if the slots were its own. Beside others it asks in turn: a poll is firm while it is new, so its
slots are asked for nowhere else; one that is not answered at once shows that its server has no work, becomes loose,
and the next link asks for the same slots. So all are asked only when none has work, and what then comes to more
links than there are slots goes back. A link whose server has not been asked for a kind of slot for a while is hungry:
responds of other links leave free slots to it, or a server that never runs dry would have all of them for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from perdure_worker.slots import NOTHING, Offer, Slots, half

DRY_AFTER_SECONDS: Final = 0.05
"""A server that has work answers a poll sooner than this."""
HUNGRY_AFTER_SECONDS: Final = 1.0
SILENT_AFTER_SECONDS: Final = 1.0
"""A respond takes a commit; one that takes longer keeps no slots from other servers."""


class Ask:
    """What a request asks for."""

    __slots__ = ("firm", "offer", "timer")

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.firm = offer != NOTHING
        """Whether no other request asks for the same slots."""
        self.timer: asyncio.TimerHandle | None = None
        """When it becomes loose."""


class Share:
    """One link's way to the slots. `when_free` is called after some became free to be asked for."""

    def __init__(self, shares: Shares, slots: Slots) -> None:
        self.when_free: Callable[[], None] = lambda: None
        self.is_live: Callable[[], bool] = lambda: False
        """Whether the server knows the session: only such a link may be hungry."""
        self.asks: set[Ask] = set()
        self.asked_at: tuple[float, float] = (0.0, 0.0)
        """When a request asked last for each kind."""
        self._shares = shares
        self._slots = slots

    @property
    def closed(self) -> bool:
        """Whether nothing is asked for any more."""
        return self._slots.closed

    @property
    def unasked(self) -> Offer:
        """What a poll of this link may ask for now."""
        return self._slots.unasked if self._shares.may_poll else NOTHING

    def begin_poll(self) -> Ask:
        """What a new poll asks for; `end` gives it back."""
        ask = Ask(self._slots.ask() if self._shares.may_poll else NOTHING)
        if ask.firm:
            self._shares.begin_turn(self, ask)
        return ask

    def begin_respond(self) -> Ask:
        """What a new respond asks for; `end` gives it back."""
        return self._shares.ask_beside(self)

    def end(self, ask: Ask) -> None:
        """The request is over; what it brought is taken already."""
        self._shares.end_turn(ask)
        self.asks.discard(ask)
        self.loosen(ask)

    def loosen(self, ask: Ask) -> None:
        """Others may ask for the same slots."""
        if ask.timer is not None:
            ask.timer.cancel()
        if ask.firm:
            ask.firm = False
            self._slots.answered(ask.offer)

    def hungers(self, now: float) -> tuple[bool, bool]:
        """For each kind, whether the server has not been asked for a while."""
        if not self.is_live():
            return False, False
        workflows, activities = (
            asked_at + HUNGRY_AFTER_SECONDS < now and not any(ask.offer[kind] for ask in self.asks)
            for kind, asked_at in enumerate(self.asked_at)
        )
        return workflows, activities

    def note(self, offer: Offer, now: float) -> None:
        """A request asks for this."""
        workflows, activities = self.asked_at
        self.asked_at = (now if offer.workflows else workflows, now if offer.activities else activities)


class Shares:
    """The shares of all links, the one that polled last at the end."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._all: list[Share] = []
        self._turn: Ask | None = None
        slots.when_free = self._tell

    @property
    def alone(self) -> bool:
        """Whether there is one link."""
        return len(self._all) == 1

    @property
    def may_poll(self) -> bool:
        """Whether no link waits to see if its server has work."""
        return self._turn is None

    def join(self) -> Share:
        """A new link begins: those that held on to slots as if alone let go."""
        for share in self._all:
            for ask in tuple(share.asks):
                share.loosen(ask)
        share = Share(self, self._slots)
        self._all.append(share)
        return share

    def part(self, share: Share) -> None:
        """A link ends."""
        self._all.remove(share)
        for ask in tuple(share.asks):
            share.end(ask)
        self._tell()

    def begin_turn(self, share: Share, ask: Ask) -> None:
        """A poll leaves."""
        share.asks.add(ask)
        if self.alone:
            return
        loop = asyncio.get_running_loop()
        share.note(ask.offer, loop.time())
        self._turn = ask
        self._all.remove(share)
        self._all.append(share)
        ask.timer = loop.call_later(DRY_AFTER_SECONDS, self._dry, share, ask)

    def end_turn(self, ask: Ask) -> None:
        """It was answered."""
        if self._turn is ask:
            self._turn = None

    def ask_beside(self, share: Share) -> Ask:
        """What a respond asks for: nothing of a kind for which another link is hungry."""
        if self.alone:
            return Ask(self._slots.ask())
        loop = asyncio.get_running_loop()
        now = loop.time()
        hungry = [other.hungers(now) for other in self._all if other is not share]
        free = self._slots.unasked
        offer = Offer(
            0 if any(workflows for workflows, _ in hungry) else half(free.workflows),
            0 if any(activities for _, activities in hungry) else half(free.activities),
        )
        share.note(offer, now)
        self._slots.promise(offer)
        ask = Ask(offer)
        if ask.firm:
            ask.timer = loop.call_later(SILENT_AFTER_SECONDS, share.loosen, ask)
        return ask

    def _dry(self, share: Share, ask: Ask) -> None:
        """Not answered at once: its server has no work now."""
        if self._turn is ask:
            self._turn = None
            share.loosen(ask)

    def _tell(self) -> None:
        for share in tuple(self._all):
            share.when_free()
