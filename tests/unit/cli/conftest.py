"""Running commands as a user does: words in; status, standard output and standard error out."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from perdure.cli.program import run
from tests.unit.cli.fake_service import FakeService, serving


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Perdure = Callable[..., Outcome]


@pytest.fixture
def perdure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Perdure:
    """Runs one command in an empty folder without any settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def invoke(*arguments: str) -> Outcome:
        status = run(arguments)
        return Outcome(int(status), *capsys.readouterr())

    return invoke


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """A service whose address every command knows."""
    with serving() as fake:
        monkeypatch.setenv("PERDURE_ADDRESS", fake.address)
        yield fake
