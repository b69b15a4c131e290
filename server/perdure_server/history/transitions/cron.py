"""Runs that wait for the clock: how long a start waits, and the next run of a cron workflow after one that ended.

Law, Temporal's: the schedule goes on when a run completes, and when it fails or times out for good (a retry policy
comes first); it ends with a run that is terminated, and with the execution timeout. A failure leaves the last result
as it was; a result wipes out the last failure. A run that was asked to stop is the last one, whatever it made of it:
who cancels a chain means the chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Raw, Struct

from perdure_proto.failures import Failure
from perdure_proto.payload import NULL
from perdure_server.history.decision import NewRun
from perdure_server.history.state import ExecutionState
from perdure_server.history.ticks import next_tick
from perdure_server.history.transitions.arrival import is_asked_to_stop
from perdure_server.history.transitions.chain import Successor, first_task_at, on_schedule


class Ending(Struct, frozen=True, kw_only=True):
    """How a run ended. `settled` are the updates that its last task accepted or rejected."""

    now: datetime
    new_run_id: str
    result: Raw = NULL
    encoding: str = ""
    failure: Failure | None = None
    settled: Mapping[str, bool] = {}


def first_wait(cron_schedule: str, start_delay: timedelta | None, now: datetime) -> timedelta:
    """How long the first task of a start waits. Raises `ValueError` for a schedule that is not valid."""
    if cron_schedule:
        return next_tick(cron_schedule, after=now, not_before=now) - now
    return start_delay or timedelta(0)


def next_run(state: ExecutionState, ending: Ending) -> NewRun | None:
    """The run that the schedule begins after this one; None where there is no schedule, or no time left."""
    started = state.started
    expires_at = state.execution_expires_at
    if not started.cron_schedule or not ending.new_run_id or is_asked_to_stop(state):
        return None
    if expires_at is not None and expires_at <= ending.now:
        return None
    try:
        tick = next_tick(started.cron_schedule, after=first_task_at(started), not_before=ending.now)
    except ValueError:  # it was valid at the start: its time zone is gone since. As in Temporal, that ends the chain
        return None
    successor = Successor(
        run_id=ending.new_run_id,
        now=ending.now,
        initiator="CRON_SCHEDULE",
        backoff=tick - ending.now,
        failure=ending.failure,
        settled=ending.settled,
    )
    return on_schedule(state, successor, _last_result(state, ending))


def _last_result(state: ExecutionState, ending: Ending) -> dict[str, Any]:
    if ending.failure is not None:
        return {}
    return {
        "last_completion_result": ending.result,
        "last_completion_encoding": ending.encoding,
        "last_completion_run_id": state.run_id,
    }
