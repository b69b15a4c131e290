"""The processes of one section on a peer: started afresh in a folder of their own, and gone after it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from perdure_server.embedded import EmbeddedPostgres
from tests.benchmarks.counts import Counts
from tests.benchmarks.figures import Figure
from tests.benchmarks.peers.command import Command, python_words
from tests.benchmarks.peers.task import Task, read_answer
from tests.postgres import scratch_folder


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pids: dict[str, int] = {}
        """The processes whose CPU is counted."""
        self.commands: list[Command] = []

    def start(self, name: str, words: Sequence[str], settings: Mapping[str, str] | None = None) -> Command:
        command = Command(name, words, self.folder, settings or {})
        command.start()
        self.commands.append(command)
        self.pids[name] = command.pid
        return command

    async def run_client(self, module: str, section: str, counts: Counts, address: str) -> list[Figure]:
        """Let the peer's client measure a section."""
        answer = self.folder / "answer.json"
        task = Task(section=section, counts=counts, address=address, pids=dict(self.pids), answer=str(answer))
        backend = tuple(self.commands)
        client = self.start("client", python_words(module, msgspec.json.encode(task).decode()))
        await client.until_ended(backend)
        return read_answer(answer)

    def last_words(self) -> str:
        return "".join(f"--- the end of the {one.name}'s log\n{one.last_words()}" for one in self.commands)


@asynccontextmanager
async def set_scene() -> AsyncIterator[Scene]:
    """A scene for as long as the block lasts; when it fails, what the processes said."""
    with scratch_folder() as folder:
        scene = Scene(folder)
        try:
            yield scene
        except BaseException:
            sys.stderr.write(scene.last_words())
            raise
        finally:
            for command in scene.commands:
                await command.kill()


@asynccontextmanager
async def set_scene_with_postgres() -> AsyncIterator[tuple[Scene, str]]:
    """The same beside the embedded Postgres, fully durable and with the settings that perdure has, and its DSN."""
    with scratch_folder() as folder:
        postgres = EmbeddedPostgres(folder / "data")
        dsn = await postgres.start()
        assert postgres.pid is not None
        try:
            async with set_scene() as scene:
                scene.pids["Postgres"] = postgres.pid
                yield scene, dsn
        finally:
            await postgres.stop()
