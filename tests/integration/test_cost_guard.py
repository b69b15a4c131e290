"""What W1 and W2 cost in counts stays near the baseline, and a count that grows is found and named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.benchmarks.guard import WRITE, Cost, Found, grown, read_baseline, report

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS_MAX = 50.0

COST = Cost(commits=4, statements=4, wal_bytes=6_000, client_requests=2, worker_requests=4, allocations=2_000)
BASELINE = Found(python="3.11", postgres="18", costs={"W1": COST})


def found(**changes: float) -> Found:
    return replace(BASELINE, costs={"W1": replace(COST, **changes)})


@pytest.mark.skipif(sys.platform == "win32", reason="the embedded Postgres does not run on Windows")
def test_costs_stay_near_the_baseline() -> None:
    """No count of W1 or W2 is more than 5 % above the committed baseline."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.guard"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout


def test_the_baseline_has_all_counts() -> None:
    """The committed baseline says what W1 and W2 cost, and nothing in it is free."""
    baseline = read_baseline()
    assert {"W1", "W2"} == baseline.costs.keys()
    for cost in baseline.costs.values():
        assert min(getattr(cost, count) for count in cost.__struct_fields__) > 0


@pytest.mark.parametrize("count", COST.__struct_fields__)
def test_a_count_that_grows_is_named(count: str) -> None:
    """A count more than 5 % above its baseline is found, by its name and its work."""
    (line,) = grown(found(**{count: getattr(COST, count) * 1.06}), BASELINE)
    assert line.startswith(f"{count} of W1: ")
    assert "6.0% above the baseline of" in line


def test_a_little_growth_is_let_pass() -> None:
    """A count up to 5 % above its baseline, or below it, is no finding."""
    assert [] == grown(found(allocations=2_100, wal_bytes=6_299, commits=1), BASELINE)


def test_growth_fails_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """A report with growth says that it fails, what has grown, and how a new baseline is written."""
    assert not report(found(statements=5), BASELINE)
    said = capsys.readouterr().out
    assert "too much: statements of W1: 5 for each workflow, 25.0% above the baseline of 4" in said
    assert WRITE in said


def test_a_gain_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A report with a count well below its baseline passes, and asks for a new one."""
    assert report(found(allocations=1_000), BASELINE)
    assert WRITE in capsys.readouterr().out


def test_only_like_is_compared_with_like() -> None:
    """Allocations are compared on the same Python alone, and bytes of WAL on the same Postgres."""
    other = replace(found(allocations=9_000, wal_bytes=9_000), python="3.13", postgres="17")
    assert [] == grown(other, BASELINE)
    assert 1 == len(grown(replace(other, postgres="18"), BASELINE))
