"""The audit: what must hold when all is over, each sentence checked against the shop's own ledger."""

from collections import Counter
from collections.abc import Iterator

from demo_ledger import Ledger
from demo_orders import Placed

STEPS = ("reserve", "charge", "ship")


def find_faults(placed: list[Placed], ledger: Ledger) -> Iterator[str]:
    """Each thing that did not hold, in one line."""
    yield from (fault for one in placed for fault in _check_order(one, ledger))
    unasked = {entry.order for entry in ledger.entries} - {one.order.id for one in placed}
    yield from (f"{order} is in the ledger, and nobody ordered it" for order in sorted(unasked))
    if not ledger.failed_before + ledger.failed_after:
        yield "the shop failed no call, so nothing was tried"


def _check_order(placed: Placed, ledger: Ledger) -> Iterator[str]:
    order = placed.order
    if not placed.finished_at:
        yield f"{order.id} did not finish"
    elif placed.receipt is None:
        yield f"{order.id} failed: {placed.failure}"
    done = [entry for entry in ledger.entries if entry.order == order.id]
    times = Counter(entry.step for entry in done)
    yield from (f"{order.id}: {step} was done {times[step]} times" for step in STEPS if times[step] != 1)
    yield from (f"{order.id}: {step} was done, and nobody asked" for step in times if step not in STEPS)
    charged = [entry.cents for entry in done if entry.step == "charge"]
    if any(cents != order.cents for cents in charged):
        yield f"{order.id} was charged {charged} and not {order.cents}"
    receipt = placed.receipt
    if receipt is None:
        return
    said = (receipt.outcome, receipt.reservation, receipt.charge, receipt.shipment)
    references = {entry.step: entry.reference for entry in done}
    expected = ("shipped", *(references.get(step, "") for step in STEPS))
    if said != expected:
        yield f"{order.id}: the receipt says {said}, the ledger {expected}"
