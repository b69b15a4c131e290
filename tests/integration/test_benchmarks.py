"""The benchmarks work: a little of them runs, with all their processes, and every result in it is checked by them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.benchmarks.counts import QUICK
from tests.benchmarks.figures import Figure, percentile, rows_of
from tests.benchmarks.machine import Machine
from tests.benchmarks.report import Report, markdown, number

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS_MAX = 100.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the embedded Postgres does not run on Windows")

MACHINE = {
    "measured_at": "2026-01-02T03:04:00Z",
    "system": "Linux 6.1",
    "cpu": "A processor",
    "cores": 2,
    "memory_gib": 24.0,
    "python": "3.11.7",
    "postgres": "18.4",
    "perdure": "0.1.0",
    "flush_microseconds": 85.0,
    "load_before": 0.1,
}


@pytest.mark.timeout(RUN_SECONDS_MAX + 20)
def test_quick_run_measures_and_checks(tmp_path: Path) -> None:
    """A quick run of W1 and W4 ends well and reports latency, throughput and cost."""
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--quick", "--only", "W1,W4", "--json", found],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    report: dict[str, Any] = msgspec.json.decode(found.read_bytes())
    amounts = {(row["work"], row["name"]): row["median"] for row in report["rows"]}
    assert [] == report["failures"]
    assert {"W1 alone", "W1", "W1, 2 servers", "W1, 3 servers", "W4"} == {work for work, _ in amounts}
    assert 2 == amounts["W1", "requests of the client"]
    for name in ("throughput", "WAL", "commits that write", "transactions", "CPU, without client"):
        assert amounts["W1", name] > 0, name


def test_medians_are_taken_over_repeats() -> None:
    """The same number of several repeats becomes one row with its median and its range."""
    row, other = rows_of([Figure("W1", "p50", 3, "ms"), Figure("W4", "p50", 9, "ms"), Figure("W1", "p50", 1, "ms")])
    assert ("W1", 2, 1, 3, [3, 1]) == (row.work, row.median, row.least, row.most, row.amounts)
    assert "W4" == other.work


def test_percentile_is_a_measured_value() -> None:
    """A percentile is the smallest value that so many percent do not exceed."""
    assert (50, 99, 7) == (percentile(range(1, 101), 50), percentile(range(1, 101), 99), percentile([7], 99))


def test_page_has_a_table_for_each_work() -> None:
    """The page of the reference names the machine and shows each work in a table of its own."""
    rows = rows_of([Figure("W1", "throughput", 1234.5, "workflows/s"), Figure("W4", "p50", 3.14159, "ms")])
    machine = msgspec.convert(MACHINE, Machine)
    page = markdown(Report(machine=machine, counts=QUICK, repeats=3, rows=rows, failures=[]))
    assert "## W1\n\n| | median |" in page
    assert "| throughput | 1,234 | 1,234 | 1,234 | workflows/s |\n\n## W4" in page
    assert page.endswith("| p50 | 3.14 | 3.14 | 3.14 | ms |\n")
    assert "A processor, 2 cores, 24 GiB, Linux 6.1" in page


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (0.01234, "0.0123"), (2, "2.00"), (12.34, "12.3"), (99.99, "100"), (12345, "12,345")]
)
def test_number_has_three_digits(amount: float, text: str) -> None:
    """A number is shown with the digits that mean something."""
    assert text == number(amount)
