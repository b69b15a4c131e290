"""What the rules look at: a file with its path, text and syntax tree, and what they report about it."""

import ast
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("proto/perdure_proto", "sdk/perdure", "worker/perdure_worker", "server/perdure_server")
ROOT_FOLDERS = ("proto", "sdk", "worker", "server", "migrations", "tests", "deploy", "docs")
# Data for the type checkers, not code.
NOT_CODE = ("tests/typing/good.py", "tests/typing/bad.py")


@dataclass(frozen=True)
class Finding:
    """One violation, printed so that an editor can jump to it."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Source:
    """A text file of the repository; `path` is relative to its root, with forward slashes."""

    path: str
    text: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def within(self, *folders: str) -> bool:
        """Whether the file is one of these, or lies below one of these folders."""
        return any(self.path == folder or self.path.startswith(folder.rstrip("/") + "/") for folder in folders)

    def at(self, line: int, message: str) -> Finding:
        return Finding(self.path, line, message)


Rule = Callable[[Source], Iterator[Finding]]


def repository_files() -> list[Source]:
    """Every text file that is, or is about to be, under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    sources = []
    for path in sorted({path for path in listed.split("\0") if path}):
        try:
            sources.append(Source(path, (ROOT / path).read_text(encoding="utf-8")))
        except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
            continue  # deleted and not yet staged; a linked folder; not text
    return sources
