"""The watchdog: on a clock of the test's own, with the watched code blocked until it is interrupted."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest

from perdure_worker.watchdog import DeadlockError, Stall, Watchdog


class Hands:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _spin(spinning: list[threading.Event]) -> None:
    swallowed: list[BaseException] = []
    for begun in spinning:
        try:
            begun.set()
            while True:
                pass
        except BaseException as error:  # noqa: BLE001 - what user code may do
            swallowed.append(error)


def _watched(watchdog: Watchdog, drive: Callable[[], object]) -> tuple[threading.Thread, list[Stall | None]]:
    records: list[Stall | None] = []
    thread = threading.Thread(target=lambda: records.append(watchdog.run(drive)[1]))
    thread.start()
    return thread, records


def test_quick_activation_leaves_no_record() -> None:
    """An activation within its time gives its result and no stall."""
    watchdog = Watchdog(clock=Hands())

    assert (5, None) == watchdog.run(lambda: 5)
    assert watchdog.check() is None


def test_blocked_activation_is_reported_and_interrupted() -> None:
    """The stack is told first, then the blocked code is interrupted, and the record says so."""
    hands, begun = Hands(), threading.Event()
    told: list[Stall] = []
    watchdog = Watchdog(told.append, timeout_s=2, clock=hands)

    def blocked() -> None:
        begun.set()
        while True:
            pass

    thread, records = _watched(watchdog, blocked)
    begun.wait()
    hands.now += 3
    stall = watchdog.check()
    thread.join()

    assert stall is not None
    assert [stall] == told == records
    assert "in blocked" in stall.stack
    assert (3.0, 1) == (stall.blocked_s, stall.interrupts)


def test_swallowed_interrupt_is_repeated_and_recorded() -> None:
    """Code that swallows the interrupt gets another after another timeout, and is a stall even if it ends well."""
    hands, begun, again = Hands(), threading.Event(), threading.Event()
    watchdog = Watchdog(timeout_s=2, clock=hands)

    thread, records = _watched(watchdog, lambda: _spin([begun, again]))
    begun.wait()
    hands.now += 3
    first, too_soon = watchdog.check(), watchdog.check()
    again.wait()
    hands.now += 2
    second = watchdog.check()
    thread.join()

    assert too_soon is None
    assert first is not None
    assert second is not None
    assert (1, 2) == (first.interrupts, second.interrupts)
    assert [second] == records


def test_no_interrupt_lands_after_its_activation() -> None:
    """However check and disarm race, nothing leaves `run` and nothing hits what comes after it."""
    ended = threading.Event()
    escaped: list[BaseException] = []
    watchdog = Watchdog(timeout_s=1, clock=itertools.count(step=10).__next__)

    def check() -> None:
        while not ended.is_set():
            watchdog.check()

    checker = threading.Thread(target=check)
    checker.start()
    stalls = 0
    try:
        for _ in range(3000):
            stalls += watchdog.run(lambda: sum(range(20)))[1] is not None
            sum(range(20))
    except DeadlockError as stray:
        escaped.append(stray)
    ended.set()
    checker.join()

    assert [] == escaped


def test_activation_that_ended_while_told_is_not_interrupted() -> None:
    """The interrupt is dropped when the activation ends while its report is under way."""
    hands = Hands()
    ended: list[Stall | None] = []
    watchdog = Watchdog(lambda _stall: ended.append(watchdog.disarm()), timeout_s=2, clock=hands)
    watchdog.arm()
    hands.now += 3

    assert [watchdog.check()] == ended


def test_with_block_keeps_its_record() -> None:
    """The value of `armed()` has the stall when the block has ended."""
    hands = Hands()
    watchdog = Watchdog(timeout_s=2, clock=hands)
    armed = watchdog.armed()

    def block() -> None:
        with armed:
            hands.now += 3
            watchdog.check()
            while True:
                pass

    with pytest.raises(DeadlockError, match="blocked its thread"):
        block()

    assert armed.stall is not None


def test_own_failure_passes_through() -> None:
    """An exception of the drive itself is the drive's."""
    with pytest.raises(ZeroDivisionError):
        Watchdog(clock=Hands()).run(lambda: 1 / 0)


def test_thread_watches_and_stops() -> None:
    """The watching thread interrupts on its own, and ends when told."""
    told = threading.Event()
    watchdog = Watchdog(lambda _stall: told.set(), timeout_s=0.02)
    watchdog.start()

    def blocked() -> None:
        while True:
            pass

    _, stall = watchdog.run(blocked)
    watchdog.stop()

    assert stall is not None
    assert told.is_set()
