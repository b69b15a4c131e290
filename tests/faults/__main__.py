"""`python -m tests.faults`: the fault suite. Its exit status is 0 only if every promise was kept; if not, it names the
folder in which all that helps to find out why was kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from perdure import Client
from tests.benchmarks.machine import describe_machine
from tests.faults.box import Box, BoxOptions
from tests.faults.caller import RPC_TIMEOUT
from tests.faults.checks import REST_SECONDS_MAX, SHOWN_MAX, ask_again, check_everything, keep_histories, until_at_rest
from tests.faults.deck import names_of
from tests.faults.journal import Journal
from tests.faults.load import Load
from tests.faults.registers import Registers, Verdict
from tests.faults.report import Report, errors_in_logs, render, write_page
from tests.faults.storm import Storm

WATCH_EVERY_SECONDS = 0.5
FAULT_SHARE_MAX = 1 / 6
"""How much of the whole time one fault may take: so a short run sees several."""


class Suite:
    """One run."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._seconds = options.minutes * 60
        self.journal = Journal(folder)
        box = BoxOptions(folder=folder, servers=options.servers, workers=options.workers, seed=options.seed)
        self._box = Box(box)

    async def run(self) -> Report:
        try:
            await self._box.start()
            async with _clients(self._box) as clients:
                return await self._put_to_the_test(clients)
        finally:
            if self.journal.wrong or sys.exception() is not None:
                await self._keep()
            await self._box.close()
            self.journal.close()

    async def _put_to_the_test(self, clients: Sequence[Client]) -> Report:
        seed = self._options.seed
        load = Load(clients, self.journal, rate=self._options.rate, seed=seed)
        registers = Registers(clients, self.journal, seed=seed)
        names = names_of(self._options.only, small_disk=self._box.postgres.has_small_disk)
        storm = Storm(self._box, self.journal, names, seed=seed, seconds_max=self._seconds * FAULT_SHARE_MAX)
        await registers.start()
        loading, watching = asyncio.create_task(load.run()), asyncio.create_task(self._watch())
        try:
            await storm.run(self._seconds)
            self._box.calm()
            loading.cancel()
            begun = self.journal.now()
            self.journal.say("the faults are over: now everything owed must happen")
            verdict = await self._come_to_rest(load, registers)
            rest = self.journal.now() - begun
        finally:
            for task in (loading, watching):
                task.cancel()
            await asyncio.gather(loading, watching, return_exceptions=True)
            await load.stop()
            await registers.stop()
        for wrong in verdict.wrong:
            self.journal.blame(wrong)
        await ask_again(clients[0], self.journal)
        histories = await check_everything(self._box, self.journal)
        machine = await describe_machine()
        disk = "a tmpfs" if self._box.postgres.has_small_disk else "a folder: no disk was full"
        return Report(
            seed=seed,
            minutes=self._options.minutes,
            servers=self._options.servers,
            workers=self._options.workers,
            machine=f"{machine.cores} cores of {machine.cpu}, Python {machine.python}, {machine.postgres}, on {disk}.",
            operations=self.journal.operations,
            programs=load.begun,
            ended_at=load.ended_at,
            histories=histories,
            registers=verdict,
            struck=storm.struck,
            rest_seconds=rest,
            wrong=self.journal.wrong,
        )

    async def _come_to_rest(self, load: Load, registers: Registers) -> Verdict:
        for name in (await load.rest(REST_SECONDS_MAX))[:SHOWN_MAX]:
            self.journal.blame(f"{name} hangs")
        try:
            async with asyncio.timeout(REST_SECONDS_MAX):
                await registers.finish()
        except TimeoutError:
            self.journal.blame("the set and the registers hang")
        for left in (await until_at_rest(self._box))[:SHOWN_MAX]:
            self.journal.blame(f"after {REST_SECONDS_MAX:.0f} s of rest, {left}")
        return registers.judge()

    async def _watch(self) -> None:
        """A process that ends while no fault has it in hand is a finding."""
        while True:
            for victim in self._box.victims:
                if victim.has_ended and not victim.is_ours:
                    self.journal.blame(f"{victim.name} ended by itself, with status {victim.status}")
                    await victim.collect()
                    victim.start()
            await asyncio.sleep(WATCH_EVERY_SECONDS)

    async def _keep(self) -> None:
        """What the database says, beside the logs, for whoever looks for the cause."""
        with contextlib.suppress(OSError):
            shutil.copy(self._box.postgres.log_file, self._folder / "postgres.log")
        try:
            await self._box.postgres.revive()
            await keep_histories(self._box, self._folder)
        except Exception as error:  # noqa: BLE001 - the finding that brought us here matters more
            self.journal.say(f"the histories were not kept: {error}")


@asynccontextmanager
async def _clients(box: Box) -> AsyncIterator[list[Client]]:
    """One for each server."""
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(await Client.connect(server.address, rpc_timeout=RPC_TIMEOUT))
            for server in box.servers
        ]


def run(options: argparse.Namespace) -> bool:
    """Run, report and tidy up; True if nothing was wrong."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-faults-"))
    folder.chmod(0o711)
    print(f"seed {options.seed}, files in {folder}", flush=True)
    report = uvloop.run(Suite(options, folder).run())
    print(f"\n{render(report)}")
    said = errors_in_logs(folder)
    for what, times in said.most_common(SHOWN_MAX):
        print(f"said {times} times: {what}")
    if report.wrong:
        again = f"make faults MINUTES={options.minutes:g} SERVERS={options.servers} WORKERS={options.workers}"
        print(f"Look at {folder}: logs, operations.jsonl, histories.jsonl. Again: {again} SEED={options.seed}")
        return False
    if said:
        print(f"No promise was broken, but these may be worth a look: the logs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    if options.write:
        write_page(report)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long there are faults")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=4.0, help="programs begun in a second")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--only", default="", metavar="REGEX", help="only such faults, say: server|lock")
    parser.add_argument("--write", action="store_true", help="write the page of the reference, if all went well")
    return 0 if run(parser.parse_args()) else 1


if __name__ == "__main__":
    sys.exit(main())
