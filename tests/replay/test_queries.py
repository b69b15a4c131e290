"""Queries: from the cache or after a replay, of open runs and of closed ones."""

import asyncio

import msgspec
import pytest

from perdure import activity, workflow
from tests.replay.service import Service, names


@activity.defn
async def work() -> str:
    return ""


@workflow.defn
async def order() -> str:
    state = "new"

    @workflow.query
    def status(prefix: str = "") -> str:
        return prefix + state

    @workflow.query
    def breaks() -> str:
        raise ValueError("broken")

    @workflow.query
    def schedules() -> str:
        _ = work.start()
        return "scheduled"

    @workflow.signal
    def advance(to: str) -> None:
        nonlocal state
        state = to

    await inner()
    await workflow.wait_condition(lambda: state == "done")
    return state


async def inner() -> None:
    await asyncio.sleep(60)  # virtual time


def test_a_query_sees_the_state_at_rest() -> None:
    """From the cache and after a replay alike."""
    service = Service(order)
    service.turn()
    service.signal("advance", "paid")
    service.turn()
    assert "is paid" == service.query("status", "is ")
    assert "paid" == service.query_anew("status")


def test_a_closed_run_can_be_queried() -> None:
    """The whole history is replayed first."""
    service = Service(order)
    service.turn()
    service.signal("advance", "done")
    service.fire_timer()
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    assert "done" == service.query_anew("status")


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("breaks", (), "broken"),
        ("schedules", (), "activity work cannot be used in a query or a validator"),
        ("status", (1,), "argument 'prefix'"),
        ("unknown", (), "no handler for query 'unknown'; it has: 'status', 'breaks', 'schedules'"),
    ],
)
def test_a_query_that_fails_says_why(name: str, args: tuple[object, ...], message: str) -> None:
    """Whatever the handler raises is the answer, and the workflow goes on."""
    service = Service(order)
    service.turn()
    with pytest.raises(AssertionError, match=message):
        service.query(name, *args)
    service.signal("advance", "done")
    service.fire_timer()
    service.turn()
    assert "done" == service.result()
    service.check()


def test_every_workflow_tells_where_it_stands() -> None:
    """The stack leads through what is awaited to the innermost line."""
    service = Service(order)
    service.turn()
    stack = service.query("__stack_trace")
    assert "main:" in stack
    assert "await inner()" in stack
    assert "await asyncio.sleep(60)" in stack
    assert "perdure_worker" not in stack


def test_every_workflow_tells_what_it_takes() -> None:
    """Names of handlers, by kind."""
    service = Service(order)
    service.turn()
    metadata = service.query("__perdure_workflow_metadata")
    assert ["status", "breaks", "schedules"] == [one["name"] for one in metadata["queries"]]
    assert ["advance"] == [one["name"] for one in metadata["signals"]]


def test_a_query_after_a_bad_replay_fails() -> None:
    """The answer is the nondeterminism, and the instance fits nothing more."""
    service = Service(order)
    service.turn()
    service.events[-1] = msgspec.structs.replace(service.events[-1], timer_id="9")
    with pytest.raises(AssertionError, match="nondeterminism at event 5"):
        service.query_anew("status")
