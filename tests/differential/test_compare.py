"""What accounts are compared by, and how a difference looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from msgspec import Raw

from perdure_proto import events as ev
from tests.differential.compare import WIDTH, difference, lines_of
from tests.differential.play import Account
from tests.differential.rest import Run

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def account(*inputs: bytes, later: float = 0.0) -> Account:
    """One run that got a signal for each of these."""
    run_id = str(uuid4())
    signals = [
        ev.WorkflowExecutionSignaled(
            event_id=number,
            event_time=NOW + timedelta(seconds=later),
            signal_name="note",
            input=Raw(value),
            request_id=str(uuid4()),
        )
        for number, value in enumerate(inputs, 1)
    ]
    run = Run(workflow_id="w", run_id=run_id, events=list(signals))
    return Account(operations=[], runs=[run], descriptions={run_id: {"run_id": run_id}})


def test_chance_is_taken_out() -> None:
    """Other ids and times are the same account."""
    first, again = (lines_of(account(b"[1]", later=later), in_order=True) for later in (0.0, 5.0))
    assert first == again
    assert '# "w#1"' == first[0]


def test_order_counts_where_one_stimulus_is_outstanding() -> None:
    """Elsewhere only what was heard does."""
    one, other = account(b"[1]", b"[2]"), account(b"[2]", b"[1]")
    assert lines_of(one, in_order=True) != lines_of(other, in_order=True)
    assert lines_of(one, in_order=False) == lines_of(other, in_order=False)


def test_a_difference_stands_side_by_side() -> None:
    """With what is around it, and a mark between the columns."""
    shown = difference(["same", "left"], ["same", "right"]).splitlines()
    assert [f"{'same':<{WIDTH}}   same", f"{'left':<{WIDTH}} ! right"] == shown[1:]


def test_no_difference_is_no_text() -> None:
    """Equal accounts say nothing."""
    assert "" == difference(["same"], ["same"])
