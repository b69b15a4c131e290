"""The pages of the repository as tests see them: their text, their blocks of code, their links and their anchors."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.tidy.source import ROOT, repository_files

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code and where it stands."""

    path: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One page of Markdown; `path` is relative to the root."""

    path: str
    text: str

    @property
    def prose(self) -> str:
        """The text without its code."""
        return re.sub(r"`[^`\n]*`", "``", FENCE.sub("", self.text))

    def blocks(self) -> Iterator[Block]:
        """Its fenced blocks."""
        for match in FENCE.finditer(self.text):
            yield Block(self.path, self.text.count("\n", 0, match.start()) + 1, match[1], match[2])

    def links(self) -> list[str]:
        """The targets of its links, indented text left out."""
        lines = [line for line in self.prose.splitlines() if not line.startswith("    ")]
        return LINK.findall("\n".join(lines))

    def anchors(self) -> set[str]:
        """What a link into it may name."""
        headings = HEADING.findall(FENCE.sub("", self.text))
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def pages() -> list[Page]:
    """Every page of the repository."""
    return [Page(source.path, source.text) for source in repository_files() if source.path.endswith(".md")]


def broken_links(page: Page) -> list[str]:
    """The links of a page that lead nowhere within the repository; other addresses are not asked."""
    found = []
    for link in page.links():
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page.path).parent / path if path else ROOT / page.path
        if not target.exists():
            found.append(f"{page.path}: {link} does not exist")
        elif anchor and anchor not in Page("", target.read_text(encoding="utf-8")).anchors():
            found.append(f"{page.path}: {link} names no heading")
    return found


def python_blocks() -> list[Block]:
    """Every block marked as Python, on any page."""
    return [block for page in pages() for block in page.blocks() if block.language == "python"]


def example_of(block: Block) -> tuple[Path, str] | None:
    """The example that a block shows, if its first line names one (`# hello.py`), and what it shows of it."""
    first, _, shown = block.text.partition("\n")
    if not re.fullmatch(r"# \w+\.py", first):
        return None
    (path,) = (ROOT / "docs" / "examples").rglob(first.removeprefix("# "))
    return path, shown
