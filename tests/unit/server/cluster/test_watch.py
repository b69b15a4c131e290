"""Who is dead and who is silent, on our own clock."""

from __future__ import annotations

from datetime import timedelta

from perdure_server.cluster.watch import Watch
from perdure_server.store.membership import MemberRow


def seen(beat: int, epoch: int = 1) -> list[MemberRow]:
    return [MemberRow("one", epoch, beat, "", "", leaving=False, beaten=True)]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.watch = Watch(timedelta(seconds=6), lambda: self.now)

    def look(self, beat: int, epoch: int = 1) -> tuple[bool, bool]:
        """Silent and dead, one second later."""
        self.now += 1
        self.watch.look(seen(beat, epoch))
        return self.watch.is_silent("one"), self.watch.is_dead("one")


def test_lease_counts_from_the_last_change() -> None:
    """Silent after half of the lease without a change, dead after all of it."""
    clock = Clock()
    looks = [clock.look(beat) for beat in [1, 1, 2, 2, 2, 2, 2, 2, 2]]
    assert [(False, False)] * 6 + [(True, False)] * 2 + [(True, True)] == looks


def test_new_epoch_is_no_sign_of_life_yet() -> None:
    """Its owner has restarted, or another taker is at work: nobody is dead for it, and it is given nothing."""
    clock = Clock()
    for _ in range(6):
        clock.look(1)
    assert [(True, False)] * 6 == [clock.look(1, epoch=2) for _ in range(6)]
    assert (True, True) == clock.look(1, epoch=2)
    assert (False, False) == clock.look(2, epoch=2)


def test_pause_of_our_own_begins_every_count_again() -> None:
    """If we stood still for more than half of the lease nobody is dead for it."""
    clock = Clock()
    clock.look(1)
    clock.now += 60
    assert (False, False) == clock.look(1)


def test_failed_look_begins_every_count_again() -> None:
    """A heartbeat that we could not see may have been made."""
    clock = Clock()
    for _ in range(6):
        clock.look(1)
    clock.watch.forget()
    assert (False, False) == clock.look(1)


def test_next_look_comes_when_somebody_may_be_dead() -> None:
    """Not a heartbeat later."""
    clock = Clock()
    for _ in range(6):
        clock.look(1)
    assert 1 == clock.watch.next_death_in
    clock.look(1)
    assert 6 == clock.watch.next_death_in
