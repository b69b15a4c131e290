"""The public surface as the type checkers see it: what must pass passes, what is marked `# E` is refused.

`good.py` and `bad.py` are read, never run. Each checker runs once for both; what it says about other files is the
business of `make types`.
"""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SEARCH_PATH = [str(ROOT / root) for root in ("proto", "sdk", "worker", "server")]

# A first run of a checker reads the standard library.
pytestmark = pytest.mark.timeout(300)

Reports = Mapping[str, Mapping[int, str]]
Checker = Callable[[], Reports]


@cache
def mypy() -> Reports:
    """What mypy --strict says, by file and line, without the settings of the project."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-version=3.11"),
            *("--cache-dir", str(ROOT / ".mypy_cache" / "surface"), "--no-pretty", "--hide-error-context"),
            *("--explicit-package-bases", "good.py", "bad.py"),
        ],
        cwd=HERE,
        env={**os.environ, "MYPYPATH": os.pathsep.join([str(HERE), *SEARCH_PATH])},
        capture_output=True,
        check=False,
        text=True,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    reports: dict[str, dict[int, str]] = defaultdict(dict)
    for line in run.stdout.splitlines():
        if found := re.match(r"(good|bad)\.py:(\d+): error: (.*)", line):
            reports[f"{found[1]}.py"].setdefault(int(found[2]), found[3])
    return reports


@cache
def pyright() -> Reports:
    """What pyright says in strict mode, by file and line."""
    run = subprocess.run(
        [sys.executable, "-m", "pyright", "--project", str(HERE), "--pythonpath", sys.executable, "--outputjson"],
        cwd=HERE,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    reports: dict[str, dict[int, str]] = defaultdict(dict)
    for item in json.loads(run.stdout)["generalDiagnostics"]:
        if item["severity"] == "error":
            line = item["range"]["start"]["line"] + 1
            reports[Path(item["file"]).name].setdefault(line, item["message"])
    return reports


CHECKERS = pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])


def marked() -> set[int]:
    lines = (HERE / "bad.py").read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# E")}


@CHECKERS
def test_good_calls_pass(checker: Checker) -> None:
    """Every call of the documented surface has the type that is promised."""
    assert {} == checker().get("good.py", {})


@CHECKERS
def test_bad_calls_are_refused(checker: Checker) -> None:
    """Every line that is marked as wrong is refused."""
    assert set() == marked() - set(checker().get("bad.py", {}))


@CHECKERS
def test_only_bad_calls_are_refused(checker: Checker) -> None:
    """Nothing beside the marked lines is refused, so the marks are refused for what they say."""
    reported = checker().get("bad.py", {})
    assert {} == {line: reported[line] for line in set(reported) - marked()}
