"""Fifty orders, and everything that runs them is killed meanwhile: see README.md beside this file.

Starts a Postgres, a history server, two workers and a shop that fails a fifth of its calls, all processes of their own.
Kills a worker, the server and Postgres with kill -9 while orders are open, starts each again, waits for all orders,
and checks the shop's ledger. The exit status is 0 only if everything held.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from demo_audit import find_faults
from demo_ledger import Ledger
from demo_orders import Customers
from demo_processes import DemoError
from demo_report import print_attempts_and_history, print_faults, print_summary
from demo_screen import Scene, shown
from demo_stack import Stack, running
from demo_trouble import Trouble
from rich.console import Console

from perdure import Client

INTERRUPTED = 130
PLAIN_WIDTH = 120


async def run(options: argparse.Namespace, folder: Path, console: Console) -> bool:
    """Run the whole demo; True if everything held."""
    stop_on_signals()
    stack = Stack(folder, options.seed)
    console.print("starting Postgres, a history server, two workers and the shop …")
    async with AsyncExitStack() as resources:
        await resources.enter_async_context(running(stack))
        client = await resources.enter_async_context(await Client.connect(stack.address))
        customers = Customers(client, options.orders, options.seed)
        scene = Scene(stack, customers, Trouble(stack, customers), time.monotonic(), Ledger())
        work = [customers.shop()] if options.calm else [customers.shop(), scene.trouble.cause()]
        await play(scene, work, options.patience, console)
        print_summary(scene, console)
        faults = [*find_faults(customers.placed, scene.ledger), *([] if options.calm else scene.trouble.faults())]
        if faults:
            await print_faults(faults, scene, console)
            return False
        await print_attempts_and_history(scene, console)
        console.print("\n[bold green]each order was reserved, charged and shipped exactly once[/bold green]")
        return True


async def play(scene: Scene, work: list[Coroutine[Any, Any, None]], patience_seconds: float, console: Console) -> None:
    """Let it all happen and show it, until it is over or patience is."""
    try:
        async with asyncio.timeout(patience_seconds), shown(scene, console):
            await under_watch(scene.stack, *work)
    except TimeoutError:
        console.print(f"patience ended after {patience_seconds:.0f} s")


async def together(*work: Awaitable[None]) -> None:
    await asyncio.gather(*work)


async def under_watch(stack: Stack, *work: Awaitable[None]) -> None:
    """Do the work, unless a process ends that nobody killed."""
    watching = asyncio.ensure_future(stack.watch())
    working = asyncio.ensure_future(together(*work))
    try:
        done, _ = await asyncio.wait([watching, working], return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.gather(watching, working, return_exceptions=True)


def stop_on_signals() -> None:
    """A closed terminal and SIGTERM stop everything, as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=50)
    parser.add_argument("--calm", action="store_true", help="kill nothing")
    parser.add_argument("--seed", type=int, default=1, help="which calls fail, and what is ordered")
    parser.add_argument("--patience", type=float, default=50, help="seconds until the demo has failed")
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    folder = Path(tempfile.mkdtemp(prefix="perdure-demo-"))
    folder.chmod(0o711)  # root runs Postgres as another user, who must get through
    held = False
    try:
        held = asyncio.run(run(options, folder, console))
    except DemoError as error:
        console.print(f"[bold red]{error}[/bold red]")
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(folder, ignore_errors=True)
        console.print("interrupted; everything is stopped")
        return INTERRUPTED
    if held:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    console.print(f"the logs are in {folder}", soft_wrap=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
