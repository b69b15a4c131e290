"""The source files whose change means new code: a file with its folder, or the whole package that it belongs to.

Seen by their times and sizes, polled: no library, no limit on watches, and it works on every file system.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

POLL_SECONDS = 0.5
FILES_MAX = 5_000
SKIPPED = frozenset({"__pycache__", "node_modules"})

Snapshot = dict[str, tuple[int, int]]


def source_root(target: str) -> tuple[Path, bool] | None:
    """The folder to look at for `module_or_file[:object]`, and whether with all below it; None when it is not here.

    A file of a package stands for the whole package, one that is in none for the files beside it.
    """
    path = _file_of(target)
    if path is None:
        return None
    folder = path if path.is_dir() else path.parent
    if not (folder / "__init__.py").exists():
        return folder, False
    while (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return folder, True


def snapshot(targets: Sequence[str]) -> Snapshot:
    """Every source file with its time and size."""
    found: Snapshot = {}
    for target in targets:
        if (root := source_root(target)) is not None:
            for path, status in _sources(*root):
                found[path] = (status.st_mtime_ns, status.st_size)
                if len(found) >= FILES_MAX:
                    return found
    return found


async def wait_for_change(targets: Sequence[str], seen: Snapshot) -> Snapshot:
    """The files as they are once they differ from what was seen, and have come to rest."""
    while (now := snapshot(targets)) == seen:  # noqa: ASYNC110 - files raise no event
        await asyncio.sleep(POLL_SECONDS)
    while True:
        await asyncio.sleep(POLL_SECONDS / 2)
        before, now = now, snapshot(targets)
        if now == before:
            return now


def _file_of(target: str) -> Path | None:
    word = target if Path(target).exists() else target.partition(":")[0]
    module = Path(*word.split(".")) if word else Path()
    candidates = (Path(word), module.with_suffix(".py"), module)
    return next((path.resolve() for path in candidates if word and path.exists()), None)


def _sources(folder: Path, below: bool) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".py") and entry.is_file():
                    yield entry.path, entry.stat()
                elif below and entry.is_dir() and entry.name not in SKIPPED and not entry.name.startswith("."):
                    yield from _sources(Path(entry.path), below)
    except OSError:
        return  # gone between two looks: the next one says so
