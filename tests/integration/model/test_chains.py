"""Chains of runs: retries, cron, continue-as-new with options, and starts that wait."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from perdure.client import WorkflowHandle
from perdure.exceptions import (
    CancelledError,
    RPCError,
    TerminatedError,
    WorkflowFailureError,
)
from perdure.exceptions import (
    TimeoutError as PerdureTimeoutError,
)
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_chains as program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def runs_of(stack: Stack, handle: WorkflowHandle[Any]) -> list[list[Any]]:
    """The histories of a chain, from its first run on."""
    found: list[list[Any]] = []
    run_id = handle.first_execution_run_id
    while run_id:
        history = await stack.client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()
        found.append(list(history.events))
        run_id = getattr(history.events[-1], "new_execution_run_id", "")
    return found


async def until_run(stack: Stack, handle: WorkflowHandle[Any], number: int) -> WorkflowHandle[Any]:
    """The run of that number in the chain, once it is there."""
    run_id = handle.first_execution_run_id or ""
    for _ in range(1, number):
        run = stack.client.get_workflow_handle(handle.id, run_id=run_id)
        last = [event async for event in run.events(follow=True)][-1]
        run_id = getattr(last, "new_execution_run_id", "")
        assert run_id, last
    return stack.client.get_workflow_handle(handle.id, run_id=run_id)


async def test_each_attempt_knows_the_one_before(stack: Stack) -> None:
    """Attempts count up, wait for their backoff, and are told the last failure; the first run stays the first."""
    handle = await stack.client.start_workflow(
        program.tries, 3, "Boom", task_queue=stack.task_queue, retry_policy=program.QUICK
    )
    [known, has_policy] = await handle.result()
    runs = await runs_of(stack, handle)
    assert ["RETRY", "RETRY"] == [run[0].initiator for run in runs[1:]]
    assert ["IN_PROGRESS", "IN_PROGRESS"] == [run[-1].retry_state for run in runs[:-1]]
    assert known["waited"] >= 0.1
    assert has_policy
    assert {"attempt": 3, "first": handle.first_execution_run_id, "failure": "attempt 2", "has": False} == {
        name: known[name] for name in ("attempt", "first", "failure", "has")
    }
    description = await handle.describe()
    assert (3, handle.first_execution_run_id) == (description.attempt, description.first_execution_run_id)


@pytest.mark.parametrize(
    ("kind", "policy", "state", "count"),
    [
        ("Final", {"non_retryable_error_types": ("Final",)}, "NON_RETRYABLE_FAILURE", 1),
        ("Boom", {"maximum_attempts": 2}, "MAXIMUM_ATTEMPTS_REACHED", 2),
        ("Boom", {"initial_interval": HOUR}, "TIMEOUT", 1),
    ],
)
async def test_the_last_attempt_says_why_it_is_the_last(
    stack: Stack, kind: str, policy: dict[str, Any], state: str, count: int
) -> None:
    """The closing event has the reason, and the caller the failure."""
    handle = await stack.client.start_workflow(
        program.tries,
        9,
        kind,
        task_queue=stack.task_queue,
        retry_policy=msgspec.structs.replace(program.QUICK, **policy),
        execution_timeout=timedelta(minutes=10),
    )
    with pytest.raises(WorkflowFailureError, match=f"attempt {count}"):
        await handle.result()
    runs = await runs_of(stack, handle)
    assert (count, state) == (len(runs), runs[-1][-1].retry_state)


async def test_an_error_may_say_how_long_to_wait(stack: Stack) -> None:
    """`next_retry_delay` stands in for the interval of the policy."""
    handle = await stack.client.start_workflow(
        program.tries, 2, "Later", task_queue=stack.task_queue, retry_policy=program.QUICK
    )
    [known, _] = await handle.result()
    assert known["waited"] >= 0.5


async def test_without_a_policy_nothing_is_tried_again(stack: Stack) -> None:
    """A failed workflow stays failed."""
    handle = await stack.client.start_workflow(program.tries, 2, "Boom", task_queue=stack.task_queue)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert ["RETRY_POLICY_NOT_SET"] == [run[-1].retry_state for run in await runs_of(stack, handle)]


async def test_cron_runs_again_and_again(stack: Stack) -> None:
    """The first run waits for its tick too; each gets the last result; a cancelled one ends the chain."""
    handle = await stack.client.start_workflow(
        program.counts, 2, task_queue=stack.task_queue, cron_schedule="@every 1s"
    )
    assert 1 == await handle.result(follow_runs=False)
    third = await until_run(stack, handle, 3)
    async for event in third.events(follow=True):
        if event.event_type == "TimerStarted":
            break
    await third.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    runs = await runs_of(stack, handle)
    assert ["CRON_SCHEDULE"] * 3 == [run[0].initiator for run in runs]
    assert ["null", "1", "2"] == [bytes(run[0].last_completion_result).decode() for run in runs]
    due = [run[0].event_time + run[0].first_workflow_task_backoff for run in runs]
    assert all((later - earlier) % SECOND == timedelta(0) for earlier, later in pairwise(due))
    assert all(run[1].event_time >= at for run, at in zip(runs, due, strict=True))


async def test_cron_goes_on_after_a_failure(stack: Stack) -> None:
    """The run after it has the last failure, and still the result of the run before."""
    handle = await stack.client.start_workflow(program.stumbles, task_queue=stack.task_queue, cron_schedule="@every 1s")
    third = await until_run(stack, handle, 3)
    known = await third.execute_update(program.ask, "?")
    await third.terminate()
    assert all(part in known for part in ("'result': {'run': 1}", "'failure': 'the second run'", "'attempt': 1"))
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, TerminatedError)


async def test_a_policy_comes_before_the_schedule(stack: Stack) -> None:
    """A failed cron run is tried again at once; when its attempts are used up the schedule goes on."""
    handle = await stack.client.start_workflow(
        program.always_fails,
        task_queue=stack.task_queue,
        cron_schedule="@every 1s",
        retry_policy=msgspec.structs.replace(program.QUICK, maximum_attempts=2),
    )
    await (await until_run(stack, handle, 4)).terminate()
    runs = await runs_of(stack, handle)
    assert [("CRON_SCHEDULE", 1), ("RETRY", 2), ("CRON_SCHEDULE", 1), ("RETRY", 2)] == [
        (run[0].initiator, run[0].attempt) for run in runs
    ]
    assert "MAXIMUM_ATTEMPTS_REACHED" == runs[1][-1].retry_state


async def test_continue_as_new_keeps_the_schedule(stack: Stack) -> None:
    """The run that continues another does not wait; the one after it waits for the next tick."""
    handle = await stack.client.start_workflow(
        program.hands_on, 1, task_queue=stack.task_queue, cron_schedule="@every 1s"
    )
    await (await until_run(stack, handle, 3)).terminate()
    first, second, third = (run[0] for run in await runs_of(stack, handle))
    assert ["@every 1s"] * 3 == [first.cron_schedule, second.cron_schedule, third.cron_schedule]
    assert ("WORKFLOW", timedelta(0)) == (second.initiator, second.first_workflow_task_backoff)
    assert ("CRON_SCHEDULE", b"[2]") == (third.initiator, bytes(third.input))


async def test_the_execution_timeout_ends_the_chain(stack: Stack) -> None:
    """It counts from the first start, over all runs and their waits."""
    handle = await stack.client.start_workflow(
        program.hands_on, 2, task_queue=stack.task_queue, cron_schedule="@every 1s", execution_timeout=1.5 * SECOND
    )
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, PerdureTimeoutError)
    assert ["WorkflowExecutionCompleted", "WorkflowExecutionTimedOut"] == [
        run[-1].event_type for run in await runs_of(stack, handle)
    ]


async def test_a_child_may_have_a_schedule(stack: Stack) -> None:
    """To its parent all its runs are one child, which closes when the chain ends."""
    parent = await stack.client.start_workflow(program.keeps_a_child, task_queue=stack.task_queue)
    async for event in parent.events(follow=True):
        if event.event_type == "ChildWorkflowExecutionStarted":
            break
    first = (await stack.client.get_workflow_handle(f"{parent.id}-child").describe()).first_execution_run_id
    child = stack.client.get_workflow_handle(f"{parent.id}-child", run_id=first).started_as(first)
    third = await until_run(stack, child, 3)
    async for event in third.events(follow=True):
        if event.event_type == "TimerStarted":
            break
    await parent.signal(program.go, "enough")
    assert "cancelled" == await parent.result()
    types = [event.event_type for event in (await parent.fetch_history()).events]
    assert [1, 1] == [types.count(f"ChildWorkflowExecution{end}") for end in ("Started", "Canceled")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cron_schedule": "every day"}, "cron_schedule 'every day': the number of its fields is 2, not 5"),
        ({"cron_schedule": "CRON_TZ=Mars/Base 0 9 * * *"}, "there is no time zone 'Mars/Base'"),
        ({"cron_schedule": "@daily", "start_delay": SECOND}, "cron_schedule and start_delay cannot be combined"),
        ({"start_delay": timedelta(days=40_000)}, "start_delay must be from 0 to 36500 days"),
    ],
)
async def test_a_start_that_cannot_be_is_refused(stack: Stack, options: dict[str, Any], says: str) -> None:
    """In words, and nothing is started."""
    workflow_id = stack.new_id()
    with pytest.raises(RPCError, match=says) as caught:
        await stack.client.start_workflow("counts", 1, id=workflow_id, task_queue=stack.task_queue, **options)
    assert "INVALID_ARGUMENT" == caught.value.code
    assert 0 == (await stack.client.count_workflows(f"WorkflowId = '{workflow_id}'")).count


async def test_a_waiting_run_says_what_it_waits_for(stack: Stack) -> None:
    """`describe` has the time, and why."""
    before = datetime.now(UTC)
    handle = await stack.client.start_workflow(
        program.counts, 1, task_queue=stack.task_queue, cron_schedule="CRON_TZ=Europe/Oslo 0 9 1 1 *"
    )
    description = await handle.describe()
    task = description.pending_workflow_task
    assert task is not None
    assert ("BACKING_OFF", description.execution_time) == (task.state, task.next_attempt_time)
    assert "next tick of the cron schedule" in task.note
    assert description.execution_time is not None
    assert (1, 1, 8, 0) == tuple(description.execution_time.timetuple()[1:5])
    assert before < description.execution_time <= before + timedelta(days=366)
    await handle.terminate()


@pytest.mark.parametrize("target", ["function", "name"])
async def test_continue_as_new_with_options(stack: Stack, target: str) -> None:
    """Another workflow, by function or by name, with other timeouts, policy, memo and attributes, after a while."""
    handle = await stack.client.start_workflow(program.hands_over, target, task_queue=stack.task_queue)
    known: Any = await handle.result()
    expected = {
        "attempt": 1,
        "first": handle.first_execution_run_id,
        "continued": handle.first_execution_run_id,
        "what": target,
        "memo": {"by": target},
        "attributes": {"n": 2},
        "run_timeout": 50.0,
        "task_timeout": 7.0,
        "attempts": 3,
    }
    assert expected == {name: known[name] for name in expected}
    assert known["waited"] >= 0.2


async def test_a_start_delay_passes(stack: Stack) -> None:
    """The first task comes after it."""
    handle = await stack.client.start_workflow(
        program.hands_on, 2, task_queue=stack.task_queue, start_delay=timedelta(seconds=0.3)
    )
    assert (await handle.result())["waited"] >= 0.3


@pytest.mark.parametrize("kind", ["signal", "update"])
async def test_a_message_ends_a_start_delay(stack: Stack, kind: str) -> None:
    """Whoever sends one need not wait for an hour."""
    handle = await stack.client.start_workflow(program.listens, task_queue=stack.task_queue, start_delay=HOUR)
    assert (await handle.describe()).pending_workflow_task is not None
    if kind == "signal":
        await handle.signal(program.go, "now")
    else:
        assert "heard now" == await handle.execute_update(program.ask, "now")
    [got, waited] = await handle.result()
    assert ["now"] == got
    assert waited < 60


async def test_a_message_does_not_end_a_backoff(stack: Stack) -> None:
    """A signal to a run that waits for its tick is there when it comes."""
    handle = await stack.client.start_workflow(program.listens, task_queue=stack.task_queue, cron_schedule="@every 1s")
    await handle.signal(program.go, "early")
    [got, waited] = await handle.result(follow_runs=False)
    assert ["early"] == got
    assert waited > 0.5
    await stack.client.get_workflow_handle(handle.id).terminate()


HOURLY = msgspec.structs.replace(program.QUICK, initial_interval=HOUR)


@pytest.mark.parametrize(
    ("how", "options", "status"),
    [
        ("obeys", {"start_delay": HOUR}, "CANCELED"),
        ("obeys", {"cron_schedule": "@every 1h"}, "CANCELED"),
        ("completes", {"cron_schedule": "@every 1h"}, "COMPLETED"),
        ("fails", {"start_delay": HOUR, "retry_policy": HOURLY}, "FAILED"),
    ],
)
async def test_a_run_that_waits_can_be_cancelled(stack: Stack, how: str, options: dict[str, Any], status: str) -> None:
    """It begins at once and hears of it; whatever it makes of it, no run follows."""
    handle = await stack.client.start_workflow(program.stops, how, task_queue=stack.task_queue, **options)
    await handle.cancel(reason="enough")
    last = [event async for event in handle.events(follow=True)][-1]
    assert (status, "") == ((await handle.describe()).status, getattr(last, "new_execution_run_id", ""))


async def test_a_backoff_can_be_cancelled(stack: Stack) -> None:
    """The next attempt begins at once; when it fails too, it is the last."""
    handle = await stack.client.start_workflow(
        program.tries, 9, "Boom", task_queue=stack.task_queue, retry_policy=HOURLY
    )
    await until_run(stack, handle, 2)
    await stack.client.get_workflow_handle(handle.id).cancel()
    with pytest.raises(WorkflowFailureError, match="attempt 2"):
        await handle.result()
    assert ["IN_PROGRESS", "CANCEL_REQUESTED"] == [run[-1].retry_state for run in await runs_of(stack, handle)]


@pytest.mark.parametrize("wait", [{"start_delay": HOUR}, {"cron_schedule": "@every 1h"}])
async def test_a_run_that_waits_can_be_terminated(stack: Stack, wait: dict[str, Any]) -> None:
    """Its code never runs, and no run follows."""
    handle = await stack.client.start_workflow("counts", 1, task_queue=stack.task_queue, **wait)
    await handle.terminate(reason="enough")
    with pytest.raises(WorkflowFailureError, match="enough"):
        await handle.result()
    assert 1 == len(await runs_of(stack, handle))


async def http(stack: Stack, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """A request of a program that has no SDK."""
    address = f"{stack.client.service.connection.address}/api/v1/namespaces/default/workflows/{path}"
    async with aiohttp.ClientSession() as session, session.request(method, address, json=body) as answer:
        return answer.status, await answer.json()


async def perdure(stack: Stack, *words: str) -> tuple[int | None, str]:
    """The command line, in a process of its own: its exit status, and what it printed."""
    command = (sys.executable, "-m", "perdure.cli", "workflow", *words)
    environment = {**os.environ, "PERDURE_ADDRESS": stack.client.service.connection.address}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_all_of_it_over_http(stack: Stack) -> None:
    """Fields of a start, refusals, and what a description says."""
    workflow_id = stack.new_id()
    start = {"workflow_type": "counts", "task_queue": "model", "input": [5], "cron_schedule": "TZ=Asia/Tokyo 0 9 1 1 *"}
    assert 400 == (await http(stack, "POST", workflow_id, {**start, "start_delay": "PT5S"}))[0]
    status, refused = await http(stack, "POST", workflow_id, {**start, "cron_schedule": "61 * * * *"})
    assert (400, "INVALID_ARGUMENT") == (status, refused["code"])
    assert "out of range" in refused["message"]
    status, _ = await http(stack, "POST", workflow_id, start)
    assert 201 >= status
    _, told = await http(stack, "GET", workflow_id)
    assert (start["cron_schedule"], "BACKING_OFF") == (told["cron_schedule"], told["pending_workflow_task"]["state"])
    assert told["execution_time"].endswith("-01-01T00:00:00Z")
    assert 200 == (await http(stack, "POST", f"{workflow_id}/terminate", {}))[0]
    delayed = {"workflow_type": "listens", "task_queue": "model", "start_delay": "PT1H", "memo": {"by": "http"}}
    await http(stack, "POST", stack.new_id() + "-d", delayed)


async def test_all_of_it_on_the_command_line(stack: Stack) -> None:
    """Retries, a schedule that cannot be read, and a description of a run that waits."""
    queue = ("--task-queue", stack.task_queue)
    retry = ("--retry", "fast", "--retry-initial-interval", "100ms")
    status, said = await perdure(stack, "execute", "tries", "--input", "2", "--input", '"Boom"', *queue, *retry)
    assert (0, True) == (status, '"attempt":2' in said.replace(" ", "")), said
    status, said = await perdure(stack, "start", "counts", "--input", "1", *queue, "--cron", "daily")
    assert (True, True) == (status != 0, "cron_schedule 'daily'" in said), said
    workflow_id = stack.new_id()
    delayed = ("listens", "--id", workflow_id, *queue, "--start-delay", "1h", "--memo", 'by="me"')
    assert 0 == (await perdure(stack, "start", *delayed))[0]
    _, said = await perdure(stack, "describe", workflow_id)
    assert "the first task waits for the end of its start delay" in " ".join(said.split())
    assert 0 == (await perdure(stack, "signal", workflow_id, "go", "--input", '"now"'))[0]
    status, said = await perdure(stack, "result", workflow_id)
    assert (0, True) == (status, '"now"' in said), said
