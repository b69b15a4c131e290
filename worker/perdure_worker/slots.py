"""Slots: how many tasks of each kind the worker may hold at once, and which requests ask for the free ones.

A slot is asked for by one request at a time, or a backlog would fill it twice. A request asks for half of what no
other asks for, so that responds in flight find slots too: the next task of a workflow then comes with the answer to
its last. Closed slots ask for nothing: the worker stops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

OFFER_MAX: Final = 2_000
"""What a service takes in one request."""


class Offer(NamedTuple):
    """How many tasks of each kind a request asks for."""

    workflows: int
    activities: int


NOTHING: Final = Offer(0, 0)


class Slots:
    """Free slots of both kinds. `when_free` is called after some became free to be asked for."""

    def __init__(self, workflows: int, activities: int) -> None:
        self.closed = False
        self.when_free: Callable[[], None] = lambda: None
        self._workflows = workflows
        self._activities = activities
        self._asked_workflows = 0
        self._asked_activities = 0

    @property
    def unasked(self) -> Offer:
        """What is free and no open request asks for."""
        if self.closed:
            return NOTHING
        return Offer(self._workflows - self._asked_workflows, self._activities - self._asked_activities)

    def ask(self) -> Offer:
        """What a new request asks for; `answered` gives it back."""
        workflows, activities = self.unasked
        offer = Offer(half(workflows), half(activities))
        self.promise(offer)
        return offer

    def promise(self, offer: Offer) -> None:
        """A request asks for this; `answered` gives it back."""
        self._asked_workflows += offer.workflows
        self._asked_activities += offer.activities

    def reserve(self, offer: Offer) -> bool:
        """Asks for exactly this, where that much is free; `answered` gives it back."""
        workflows, activities = self.unasked
        if workflows < offer.workflows or activities < offer.activities:
            return False
        self.promise(offer)
        return True

    def answered(self, offer: Offer) -> None:
        """The request is over; what it brought is taken next."""
        self._asked_workflows -= offer.workflows
        self._asked_activities -= offer.activities
        self.when_free()

    def close(self) -> None:
        """From now on nothing is asked for and nothing taken."""
        self.closed = True
        self.when_free()

    def take_workflow(self) -> bool:
        """Takes a slot for a workflow or query task; false when there is none."""
        if self.closed or self._workflows == 0:
            return False
        self._workflows -= 1
        return True

    def take_activity(self) -> bool:
        """Takes a slot for an activity; false when there is none."""
        if self.closed or self._activities == 0:
            return False
        self._activities -= 1
        return True

    def give_workflow(self) -> None:
        """A workflow or query task is done."""
        self._workflows += 1
        self.when_free()

    def give_activity(self) -> None:
        """An activity attempt is done."""
        self._activities += 1
        self.when_free()


def half(count: int) -> int:
    """Half of it, at least one if there is any; below 0 where more was asked for than there is.

    >>> [half(count) for count in (100, 3, 1, 0, -1)]
    [50, 2, 1, 0, 0]
    """
    return min((max(count, 0) + 1) // 2, OFFER_MAX)
