"""How links share the slots: alone as if they were their own, beside others in turn, and nobody starves."""

from __future__ import annotations

import asyncio

import pytest

from perdure_worker import shares
from perdure_worker.shares import Share, Shares
from perdure_worker.slots import NOTHING, Offer, Slots


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server counts as dry when the test says so."""
    monkeypatch.setattr(shares, "DRY_AFTER_SECONDS", 3_600.0)


def shared(links: int, slots: int = 8) -> tuple[Slots, list[Share]]:
    """The shares of so many links, each of which its server knows."""
    all_slots = Slots(workflows=slots, activities=slots)
    made = Shares(all_slots)
    found = [made.join() for _ in range(links)]
    for share in found:
        share.is_live = lambda: True
    return all_slots, found


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_alone_a_poll_holds_on_to_its_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """One link asks as it always did, however long its server has no work."""
    monkeypatch.setattr(shares, "DRY_AFTER_SECONDS", 0.0)
    _, (share,) = shared(1)
    assert Offer(4, 4) == share.begin_poll().offer
    await turns()
    assert Offer(4, 4) == share.unasked
    assert Offer(2, 2) == share.begin_respond().offer


async def test_one_server_is_asked_at_a_time() -> None:
    """While a poll may still find work at once, no other link asks."""
    _, (first, second) = shared(2)
    ask = first.begin_poll()
    assert (Offer(4, 4), NOTHING, NOTHING) == (ask.offer, second.unasked, second.begin_poll().offer)
    first.end(ask)
    assert Offer(8, 8) == second.unasked


async def test_all_are_asked_when_none_has_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that is not answered at once stays, and the next link asks for the same slots."""
    monkeypatch.setattr(shares, "DRY_AFTER_SECONDS", 0.0)
    _, links = shared(3)
    offers = []
    for share in links:
        offers.append(share.begin_poll().offer)
        await turns()
    assert [Offer(4, 4)] * 3 == offers


async def test_the_link_that_asked_last_is_told_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links take turns, so that no server has all that becomes free."""
    monkeypatch.setattr(shares, "DRY_AFTER_SECONDS", 0.0)
    slots, (first, second) = shared(2)
    told: list[str] = []
    first.when_free, second.when_free = (lambda: told.append("first")), (lambda: told.append("second"))
    first.begin_poll()
    await turns()
    told.clear()
    slots.take_activity()
    slots.give_activity()
    assert ["second", "first"] == told


async def test_a_second_link_gets_its_share_at_once() -> None:
    """A poll that was opened when its link was alone does not keep its slots from the new one."""
    slots = Slots(workflows=8, activities=8)
    made = Shares(slots)
    made.join().begin_poll()
    assert Offer(8, 8) == made.join().unasked


async def test_a_link_that_ends_gives_back_what_it_asked_for() -> None:
    """The slots and the turn of a link that ends are free again, and its last words change nothing."""
    slots = Slots(workflows=8, activities=8)
    made = Shares(slots)
    first, second = made.join(), made.join()
    ask = first.begin_poll()
    made.part(first)
    first.end(ask)
    assert Offer(8, 8) == second.unasked == slots.unasked


async def test_a_hungry_link_is_left_what_becomes_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never runs dry does not keep another one from ever being asked."""
    monkeypatch.setattr(shares, "HUNGRY_AFTER_SECONDS", 0.0)
    _, (busy, hungry) = shared(2)
    assert NOTHING == busy.begin_respond().offer
    hungry.begin_poll()
    assert Offer(2, 2) == busy.begin_respond().offer


async def test_a_link_that_nobody_answers_is_not_hungry(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a server that does not know the worker nothing is kept."""
    monkeypatch.setattr(shares, "HUNGRY_AFTER_SECONDS", 0.0)
    _, (busy, away) = shared(2)
    away.is_live = lambda: False
    assert Offer(4, 4) == busy.begin_respond().offer


async def test_a_respond_that_is_not_answered_keeps_no_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that went silent with a respond in flight does not take slots from the others."""
    monkeypatch.setattr(shares, "SILENT_AFTER_SECONDS", 0.0)
    _, (silent, other) = shared(2)
    for share in (silent, other):
        share.note(Offer(1, 1), asyncio.get_running_loop().time())
    ask = silent.begin_respond()
    assert Offer(4, 4) == other.unasked
    await turns()
    assert Offer(8, 8) == other.unasked
    silent.end(ask)
    assert Offer(8, 8) == other.unasked


async def test_hunger_is_for_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that waits for activities alone is left workflow slots, not activity slots."""
    monkeypatch.setattr(shares, "HUNGRY_AFTER_SECONDS", 0.0)
    slots, (busy, other) = shared(2)
    taken = [slots.take_workflow() for _ in range(8)]
    other.begin_poll()
    for _ in taken:
        slots.give_workflow()
    assert Offer(0, 2) == busy.begin_respond().offer
