"""Every scenario goes as it is written down, and together they meet every entry of the core's tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure_server.history import decide, evolve
from perdure_server.history.transitions import check, commands
from tests.transcripts.scenarios import SCENARIOS

FOLDER = Path(__file__).parent / "golden"
TABLES: dict[str, dict[type, Callable[..., Any]]] = {
    "DECISIONS": decide.DECISIONS,
    "EVENTS": evolve.EVENTS,
    "RECORDS": evolve.RECORDS,
    "COMMANDS": commands.COMMANDS,
    "CHECKS": check.CHECKS,
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_transcript(name: str) -> None:
    """The scenario goes as its transcript says; `python -m tests.transcripts.regenerate` writes it anew."""
    assert (FOLDER / f"{name}.txt").read_text(encoding="utf-8") == SCENARIOS[name]().text()


def test_no_transcript_without_a_scenario() -> None:
    """A transcript whose scenario is gone goes too."""
    assert set(SCENARIOS) == {path.stem for path in FOLDER.glob("*.txt")}


@pytest.mark.parametrize("table", TABLES)
def test_every_entry_is_met(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No entry of the table is left out by the scenarios."""
    met: set[type] = set()

    def watched(key: type, entry: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            met.add(key)
            return entry(*arguments)

        return call

    for key, entry in list(TABLES[table].items()):
        monkeypatch.setitem(TABLES[table], key, watched(key, entry))
    for tell in SCENARIOS.values():
        tell()
    assert set() == {key.__name__ for key in TABLES[table]} - {key.__name__ for key in met}
