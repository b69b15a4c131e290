"""The fault suite still runs: a few seconds of it; `make faults` is for the rest."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--minutes", "0.1", "--workers", "1", "--rate", "2", "--seed", "1")
RUN_SECONDS_MAX = 100.0


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform == "win32", reason="the embedded Postgres does not run on Windows")
def test_a_few_seconds_of_faults_break_no_promise() -> None:
    """Servers are killed under load, and everything that was acknowledged is there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *SHORT, "--only", "kill -9 of a server"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert "kill -9 of a server: server" in done.stdout
    assert "worth a look" not in done.stdout
    assert "No violation." in done.stdout
