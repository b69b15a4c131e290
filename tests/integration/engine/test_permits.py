"""Permits of concurrency limits, as the owner of the runs keeps them: when they are held, and when they go back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure_proto import commands as c
from perdure_proto import service as svc
from perdure_proto.errors import Code, ServiceError
from perdure_proto.options import RetryPolicy
from tests.engine import NAMESPACE, Cluster, OneServer, Worker

LATER = RetryPolicy(initial_interval=timedelta(seconds=60))


async def start(server: OneServer, *ids: str, most: int = 1, **options: Any) -> None:
    """Standalone activities of one type under a limit."""
    for activity_id in ids:
        request = svc.StartActivityRequest(activity_type="Pay", concurrency_max=most, **options)
        await server.api.start_activity(NAMESPACE, activity_id, request)


async def note(server: OneServer, activity_id: str) -> str:
    """What is said of an activity that is pending."""
    pending = (await server.api.describe_activity(NAMESPACE, activity_id, "")).pending
    return pending.note if pending is not None else ""


async def test_the_next_begins_when_one_has_ended(server: OneServer, worker: Worker) -> None:
    """And not before; meanwhile it says what it waits for."""
    await start(server, "a", "b")
    first = await worker.activity_task()
    assert () == (await worker.poll(activities=1, wait=0)).tasks
    assert "waiting for a permit: at most 1 of type 'Pay' run at once" == await note(server, "b")
    await worker.done(first)
    assert "b" == (await worker.activity_task()).activity_id


async def test_a_permit_is_in_the_row_before_the_task_is_handed_out(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """And gone with it."""
    await start(server, "a", concurrency_key="printers")
    task = await worker.activity_task()
    assert [("1/activity/printers",)] == [tuple(row) for row in await cluster.rows("select permit from activities")]
    await worker.done(task)
    assert [] == await cluster.rows("select permit from activities")


async def test_what_backs_off_holds_none(server: OneServer, worker: Worker) -> None:
    """The others go on while it waits for its next attempt, which asks anew."""
    await start(server, "a", "b", retry_policy=LATER)
    await worker.failed(await worker.activity_task())
    second = await worker.activity_task()
    assert "b" == second.activity_id
    server.move(61)
    assert () == (await worker.poll(activities=1, wait=0)).tasks
    await worker.done(second)
    again = await worker.activity_task()
    assert ("a", 2) == (again.activity_id, again.attempt)


async def test_an_attempt_that_times_out_gives_its_permit_back(server: OneServer, worker: Worker) -> None:
    """The service has given it up, wherever it may still run."""
    await start(server, "a", "b", retry_policy=LATER, start_to_close_timeout=timedelta(seconds=10))
    await worker.activity_task()
    server.move(11)
    assert "b" == (await worker.activity_task()).activity_id


async def test_who_stops_waiting_gets_none(server: OneServer, worker: Worker) -> None:
    """One that is terminated while it waits leaves the line."""
    await start(server, "a", "b", "c")
    first = await worker.activity_task()
    assert () == (await worker.poll(activities=1, wait=0)).tasks
    await server.api.terminate_activity(NAMESPACE, "b", svc.TerminateWorkflowRequest())
    await worker.done(first)
    assert "c" == (await worker.activity_task()).activity_id


async def test_a_terminated_run_gives_back_what_it_holds(server: OneServer, worker: Worker) -> None:
    """At once, for nobody waits for its activity any more."""
    await start(server, "a", "b")
    await worker.activity_task()
    assert () == (await worker.poll(activities=1, wait=0)).tasks
    await server.api.terminate_activity(NAMESPACE, "a", svc.TerminateWorkflowRequest())
    assert "b" == (await worker.activity_task()).activity_id


async def test_a_new_owner_knows_what_is_held(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """After a kill it gives nothing that a row holds, and goes on when that has ended."""
    await start(server, "a", "b")
    held = await worker.activity_task()
    await worker.acknowledge()
    await server.die()
    following = await cluster.server()
    again = Worker(following, "worker-1", held=[held.token])
    assert () == (await again.poll(activities=1, wait=1)).tasks
    await again.done(held)
    assert "b" == (await again.activity_task()).activity_id


async def test_the_newest_maximum_counts_for_all(server: OneServer, worker: Worker) -> None:
    """A later start says two: so two run."""
    await start(server, "a", "b")
    await worker.activity_task()
    await start(server, "c", most=2)
    assert 1 == len((await worker.poll(activities=2)).tasks)


async def test_a_command_with_a_key_alone_is_refused(server: OneServer, worker: Worker) -> None:
    """The task fails and says why."""
    await server.start()
    wrong = c.ScheduleActivityTask(activity_id="1", activity_type="Pay", concurrency_key="k")
    answer = await worker.answer(await worker.workflow_task(), wrong)
    assert Code.BAD_COMMAND == answer.code
    assert "concurrency_max" in answer.message


@pytest.mark.parametrize("most", [0, -1, 1_000_001])
async def test_a_maximum_out_of_range_is_refused(server: OneServer, most: int) -> None:
    """Before anything is written."""
    with pytest.raises(ServiceError) as refused:
        await start(server, "a", most=most)
    assert Code.INVALID_ARGUMENT == refused.value.code
