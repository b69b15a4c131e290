"""Worlds run in processes of their own: time and chance of such a process are theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Simulate = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    """Runs `python -m tests.simulation` with these words."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.simulation", *words]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    return run
