"""What the demo says when all is over: the kills and how long each was felt, what it took, one order's history."""

import asyncio
import statistics
from collections.abc import Iterator

from demo_ledger import Ledger
from demo_orders import Placed
from demo_screen import Scene
from demo_trouble import Kill
from rich.console import Console
from rich.table import Table


def print_summary(scene: Scene, console: Console) -> None:
    placed = scene.customers.placed
    took = [one.seconds for one in placed if one.receipt]
    last = max((one.finished_at for one in placed), default=0.0) - scene.began_at
    console.print()
    console.print(f"[bold]{len(took)} of {len(placed)} orders finished[/bold], the last after {last:.1f} s")
    if took:
        console.print(f"an order took {statistics.median(took):.1f} s in the middle, {max(took):.1f} s at most")
    console.print()
    console.print(_kills(scene))
    console.print()
    for line in _calls(scene.ledger):
        console.print(line)


async def print_attempts_and_history(scene: Scene, console: Console) -> None:
    """What the histories say, and that of the order that took longest, as `perdure workflow show` prints it."""
    counted = await asyncio.gather(*map(scene.customers.count_attempts, scene.customers.placed))
    tries = [number for attempts in counted for number in attempts.values()]
    again = sum(1 for number in tries if number > 1)
    console.print(
        f"{len(tries)} activities took {sum(tries)} attempts; {again} took more than one, none over {max(tries)}"
    )
    slowest = max(scene.customers.placed, key=lambda one: one.seconds)
    console.print()
    console.print(f"[bold]the history of {slowest.order.id}[/bold], which took longest: {slowest.seconds:.1f} s")
    await scene.stack.print_history(slowest.order.id)


async def print_faults(faults: list[str], scene: Scene, console: Console) -> None:
    console.print()
    console.print(f"[bold red]{len(faults)} things did not hold[/bold red]")
    for fault in faults:
        console.print(f"  {fault}", markup=False)
    stuck = [one for one in scene.customers.placed if one.is_open]
    for one, status in zip(stuck, await asyncio.gather(*map(scene.customers.ask_status, stuck)), strict=True):
        console.print(f"  {one.order.id} says: {status}", markup=False)


def _kills(scene: Scene) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for title in (
        "kill -9 of",
        "at",
        "runs again after",
        "next order finished after",
        "orders open then",
        "all of them finished after",
    ):
        table.add_column(title, justify="left" if title == "kill -9 of" else "right")
    for kill in scene.trouble.kills:
        table.add_row(kill.name, *_row(kill, scene.customers.placed, scene.began_at))
    return table


def _row(kill: Kill, placed: list[Placed], began_at: float) -> Iterator[str]:
    yield _seconds(kill.killed_at, began_at)
    yield _seconds(kill.back_at, kill.killed_at)
    yield _seconds(kill.next_finished_at(placed), kill.killed_at)
    yield str(len(kill.open_orders))
    yield _seconds(kill.all_finished_at, kill.killed_at)


def _seconds(moment: float, since: float) -> str:
    return f"{moment - since:.1f} s" if moment else "–"


def _calls(ledger: Ledger) -> Iterator[str]:
    """What the shop was asked, and what it made of it."""
    yield f"{sum(ledger.calls.values())} calls reached the shop for {len(ledger.entries)} pieces of work"
    yield (
        f"it failed {ledger.failed_before} before it did the work and {ledger.failed_after} after, and "
        f"{ledger.calls.get('repeated', 0)} times gave an earlier answer again"
    )
