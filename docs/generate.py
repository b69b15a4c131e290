"""Writes the generated pages of `docs/reference/`: `python docs/generate.py`; `--check` only says what is stale.

What a page says stands in the code: docstrings, signatures, tables. Nothing is repeated here, so nothing can disagree.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from protocol_pages import errors_page, events_page
from sdk_page import sdk_page
from transitions_page import transitions_page

from perdure.cli.reference import commands_page, settings_page

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTICE = "<!-- Made by `make docs` from the code. Do not edit. -->"

PAGES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "sdk.md": sdk_page,
        "cli.md": commands_page,
        "settings.md": settings_page,
        "errors.md": errors_page,
        "events.md": events_page,
        "transitions.md": transitions_page,
    }
)
"""Every generated page, and what writes it."""


def rendered(write: Callable[[], str]) -> str:
    """A page as it stands in the file."""
    return f"{NOTICE}\n\n{write().strip()}\n"


def stale_pages() -> list[str]:
    """The pages whose file says something else, or is missing."""
    found = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md")}
    return [name for name, write in PAGES.items() if found.get(name) != rendered(write)]


def write_pages() -> None:
    """Write what is stale."""
    REFERENCE.mkdir(exist_ok=True)
    for name in stale_pages():
        (REFERENCE / name).write_text(rendered(PAGES[name]), encoding="utf-8")
        print(f"wrote docs/reference/{name}")


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is stale")
    if not parser.parse_args().check:
        write_pages()
        return 0
    stale = stale_pages()
    if stale:
        print(f"stale: {', '.join(stale)}; run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
