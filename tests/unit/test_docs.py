"""The pages: what is generated is up to date, and links lead somewhere."""

import subprocess
import sys

import pytest

from tests.documents import Page, broken_links, pages
from tests.tidy.source import ROOT

PAGES = pages()


def test_the_generated_pages_are_up_to_date() -> None:
    """What the code says now is what the reference says."""
    command = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_links_lead_somewhere(page: Page) -> None:
    """A link within the repository names a file that is there, and a heading that is in it."""
    assert [] == broken_links(page)


def test_a_broken_link_is_found() -> None:
    """A missing file and a missing heading are both named."""
    page = Page("docs/README.md", "# One\n[a](nowhere.md) [b](#docs) [c](#two) [d](https://example.org)\n")
    assert ["docs/README.md: nowhere.md does not exist", "docs/README.md: #two names no heading"] == broken_links(page)


def test_every_page_of_the_docs_is_reachable() -> None:
    """From the front page, link by link, one comes to every page of the docs."""
    by_path = {page.path: page for page in PAGES}
    reached, open_pages = set(), ["README.md"]
    while open_pages:
        path = open_pages.pop()
        if path in reached or path not in by_path:
            continue
        reached.add(path)
        for link in by_path[path].links():
            target = (ROOT / path).parent / link.partition("#")[0]
            if "://" not in link and target.is_file():
                open_pages.append(target.resolve().relative_to(ROOT).as_posix())
    folders = ("docs/tutorials/", "docs/how-to/", "docs/reference/", "docs/explanation/", "docs/adr/")
    assert set() == {path for path in by_path if path.startswith(folders)} - reached
