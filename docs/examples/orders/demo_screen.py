"""What one sees while the demo runs: a live picture on a terminal, plain lines elsewhere.

Read from the customers, the processes and the shop's ledger; it changes nothing, and nothing waits for it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from demo_ledger import Ledger, read_ledger
from demo_orders import Customers
from demo_stack import Stack
from demo_trouble import Trouble
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LOOK_EVERY_SECONDS = 0.25
PLAIN_EVERY_SECONDS = 2.0
PICTURES_A_SECOND = 8
BAR_WIDTH = 40


@dataclass
class Scene:
    """What is looked at."""

    stack: Stack
    customers: Customers
    trouble: Trouble
    began_at: float
    ledger: Ledger

    def counts(self) -> Iterator[tuple[str, int]]:
        placed = self.customers.placed
        yield "started", sum(1 for one in placed if one.started_at)
        yield "reserved", self.ledger.count("reserve")
        yield "approved", sum(1 for one in placed if one.approved_at)
        yield "charged", self.ledger.count("charge")
        yield "shipped", self.ledger.count("ship")
        yield "finished", sum(1 for one in placed if one.finished_at)

    def notes(self) -> list[str]:
        """What happened, in order."""
        return [f"{moment - self.began_at:5.1f} s  {text}" for moment, text in sorted(self._happened())]

    def _happened(self) -> Iterator[tuple[float, str]]:
        for kill in self.trouble.kills:
            yield kill.killed_at, f"kill -9 {kill.name}, with {len(kill.open_orders)} orders open"
            if kill.back_at:
                yield kill.back_at, f"{kill.name} runs again"
            if finished_at := kill.next_finished_at(self.customers.placed):
                yield finished_at, "the next order finishes"


@contextlib.asynccontextmanager
async def shown(scene: Scene, console: Console) -> AsyncIterator[None]:
    """Show the scene for as long as the block lasts."""
    tasks = [asyncio.create_task(_follow_ledger(scene))]
    with contextlib.ExitStack() as screen:
        if console.is_terminal:
            live = Live(console=console, get_renderable=lambda: _picture(scene), refresh_per_second=PICTURES_A_SECOND)
            screen.enter_context(live)
        else:
            tasks.append(asyncio.create_task(_print_lines(scene, console)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            scene.ledger = await read_ledger(scene.stack.shop_url) or scene.ledger
    if not console.is_terminal:
        console.print(_plain(scene))


async def _follow_ledger(scene: Scene) -> None:
    while True:
        scene.ledger = await read_ledger(scene.stack.shop_url) or scene.ledger
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _print_lines(scene: Scene, console: Console) -> None:
    printed: set[str] = set()
    next_at = 0.0
    while True:
        for note in scene.notes():
            if note not in printed:
                console.print(note, markup=False)
                printed.add(note)
        if time.monotonic() >= next_at:
            console.print(_plain(scene))
            next_at = time.monotonic() + PLAIN_EVERY_SECONDS
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def _plain(scene: Scene) -> str:
    counts = ", ".join(f"{count:2} {name}" for name, count in scene.counts())
    return f"{time.monotonic() - scene.began_at:5.1f} s  {counts}"


def _picture(scene: Scene) -> RenderableType:
    total = len(scene.customers.placed)
    bars = Table.grid(padding=(0, 2))
    for name, count in scene.counts():
        bars.add_row(name, ProgressBar(total=total, completed=count, width=BAR_WIDTH), f"{count} of {total}")
    processes = Text()
    for process in scene.stack.processes:
        sign, style = ("✗", "bold red") if process.is_down else ("●", "green")
        processes.append(f"{sign} {process.name}   ", style=style)
    failures = f"{scene.ledger.failed_before + scene.ledger.failed_after} calls to the shop have failed"
    clock = Text(f"{time.monotonic() - scene.began_at:5.1f} s", style="dim")
    return Group("", bars, "", processes, Text(failures, style="dim"), *map(Text, scene.notes()), clock)
