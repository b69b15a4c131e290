"""The peers' own environments below `.bench`, made from committed pins: perdure's stays free of them. Making them needs
a network, and only the first time, or when a pin or the Python has changed.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.process import BenchmarkError

HERE = Path(__file__).parent
FOLDER = HERE.parents[2] / ".bench"
VENV = FOLDER / "peers-venv"
PYTHON = VENV / "bin" / "python"
NODE = FOLDER / "node"
REQUIREMENTS = HERE / "requirements.txt"
PACKAGES = (HERE / "package.json", HERE / "package-lock.json")
SERVER = "@restatedev/restate-server"
MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
"""Node's words for what Python says."""


def make_venv() -> None:
    """A venv with DBOS and Restate's SDK."""
    pins = f"# {sys.version}\n{REQUIREMENTS.read_text()}"
    if _is_made(VENV, pins):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(VENV)], FOLDER.parent)
    _run([str(PYTHON), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)], FOLDER.parent)
    _mark_made(VENV, pins)


def make_node() -> Path | None:
    """Restate's server, or nothing where there is no Node to install it with. It is a program of its own: Node does not
    run it.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    pins = "".join(file.read_text() for file in PACKAGES)
    if not _is_made(NODE, pins):
        shutil.rmtree(NODE, ignore_errors=True)
        NODE.mkdir(parents=True)
        for file in PACKAGES:
            shutil.copy(file, NODE)
        # The only script among the packages reports the installation to somebody.
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], NODE)
        _mark_made(NODE, pins)
    machine = MACHINES.get(platform.machine().lower(), platform.machine())
    server = NODE / "node_modules" / f"{SERVER}-{sys.platform}-{machine}" / "bin" / "restate-server"
    if not server.exists():
        raise BenchmarkError(f"npm brings no Restate server for {sys.platform} on {machine}")
    return server


def versions() -> dict[str, str]:
    """The pinned version of each peer."""
    pins = dict(line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    server: str = json.loads(PACKAGES[0].read_text())["dependencies"][SERVER]
    return {"DBOS": pins["dbos"], "Restate server": server, "Restate SDK": pins["restate-sdk"]}


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command[:3])} failed; is there a network?\n{done.stdout}{done.stderr}")


def _is_made(folder: Path, pins: str) -> bool:
    mark = folder / ".made"
    return mark.exists() and mark.read_text() == pins


def _mark_made(folder: Path, pins: str) -> None:
    (folder / ".made").write_text(pins)
