"""Activities in processes: what crosses, what ends with a process, and that one process is nobody else's matter."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from perdure_proto.failures import ApplicationFailure
from perdure_proto.tasks import (
    ActivityHeartbeat,
    ActivityTaskCancellation,
    ActivityTaskCompletion,
    ActivityTaskDetached,
    ActivityTaskFailure,
    AnyCompletion,
    CancelActivity,
)
from tests.programs import in_processes as program
from tests.unit.worker.wired import activity_task
from tests.unit.worker.workers import Serving, serving

pytestmark = pytest.mark.timeout(60)


async def result_of(one: Serving, token: str, activity_type: str, *arguments: bytes, **more: Any) -> bytes:
    """What an attempt returned."""
    completion = await ended(one, token, activity_type, *arguments, **more)
    assert isinstance(completion, ActivityTaskCompletion)
    return bytes(completion.result)


async def ended(one: Serving, token: str, activity_type: str, *arguments: bytes, **more: Any) -> AnyCompletion:
    """How an attempt ended; its heartbeats are left out."""
    task = activity_task(token, activity_type=activity_type, input=Raw(b"[" + b",".join(arguments) + b"]"), **more)
    await one.give(task)
    while True:
        for completion in await one.next_completions():
            if not isinstance(completion, ActivityHeartbeat):
                return completion


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def until_gone(pid: int) -> None:
    while is_alive(pid):
        pass


async def test_a_process_is_another_and_is_used_again() -> None:
    """Two attempts one after the other meet the same process, which is not the worker's."""
    async with serving(activities=[program.pid]) as one:
        first, second = await result_of(one, "a", "pid"), await result_of(one, "b", "pid")
        assert first == second != str(os.getpid()).encode()


async def test_values_heartbeats_and_logs_cross(caplog: pytest.LogCaptureFixture) -> None:
    """Arguments and result are typed, details are converted by the worker, and a record names the attempt."""
    async with serving(activities=[program.mirrored]) as one:
        await one.give(activity_task("a", activity_type="mirrored", input=Raw(b'[{"x":1,"y":2}]')))
        handed_in: list[AnyCompletion] = []
        while not any(isinstance(each, ActivityTaskCompletion) for each in handed_in):
            handed_in.extend(await one.next_completions())
    beat, completion = handed_in
    assert isinstance(beat, ActivityHeartbeat)
    assert b'[{"x":1,"y":2},"half"]' == bytes(beat.details)
    assert ActivityTaskCompletion(token="a", result=Raw(b'{"x":2,"y":1}')) == completion
    (record,) = [record for record in caplog.records if "mirrors" in record.getMessage()]
    assert (logging.WARNING, "mirrors Point(x=1, y=2)") == (record.levelno, record.getMessage())
    assert "mirrored" == record.activity_type  # type: ignore[attr-defined]  # an extra of the activity's logger


async def test_an_attempt_knows_itself_in_its_process() -> None:
    """`info()` is what it is in the worker, with the details of the attempt before."""
    async with serving(activities=[program.told]) as one:
        more = {"attempt": 3, "heartbeat_details": Raw(b"[42]")}
        assert b'["1","w","3","42"]' == await result_of(one, "a", "told", **more)


async def test_a_method_takes_its_instance_along() -> None:
    """The instance is pickled with the activity."""
    async with serving(activities=[program.Press(3).press]) as one:
        assert b"12" == await result_of(one, "a", "press", b"4")


@pytest.mark.parametrize(("how", "words"), [("killed", "was killed by SIGKILL"), ("exits", "exited with status 3")])
async def test_a_crash_is_a_failure_that_is_retried(how: str, words: str) -> None:
    """Whoever ends the process fails the attempt alone; the next attempt meets a new process."""
    async with serving(activities=[program.dies, program.pid]) as one:
        before = await result_of(one, "a", "pid")
        completion = await ended(one, "b", "dies", f'"{how}"'.encode())
        assert isinstance(completion, ActivityTaskFailure)
        assert ApplicationFailure(type="ProcessCrashed") == completion.failure.info
        assert words in completion.failure.message
        assert before != await result_of(one, "c", "pid")


async def test_an_error_keeps_type_details_stack_and_cause() -> None:
    """What raised is told as if it had been in the worker."""
    async with serving(activities=[program.fails]) as one:
        completion = await ended(one, "a", "fails", b'"x"')
    assert isinstance(completion, ActivityTaskFailure)
    failure = completion.failure
    assert ApplicationFailure(type="Declined", non_retryable=True, details=Raw(b'[{"x":1,"y":2}]')) == failure.info
    assert "in_processes.py" in failure.stack_trace
    assert failure.cause is not None
    assert ApplicationFailure(type="KeyError") == failure.cause.info


@pytest.mark.parametrize(
    ("kind", "error_type", "words"),
    [("exit", "SystemExit", "enough"), ("result", "INVALID_ARGUMENT", "the result .* cannot be pickled")],
)
async def test_other_ends_are_told_clearly(kind: str, error_type: str, words: str) -> None:
    """`sys.exit` ends only the attempt; a result that cannot be pickled is named, and is not tried again."""
    async with serving(activities=[program.fails]) as one:
        completion = await ended(one, "a", "fails", f'"{kind}"'.encode())
    assert isinstance(completion, ActivityTaskFailure)
    assert isinstance(completion.failure.info, ApplicationFailure)
    assert (error_type, kind == "result") == (completion.failure.info.type, completion.failure.info.non_retryable)
    with pytest.raises(RuntimeError, match=words):
        raise RuntimeError(completion.failure.message)


async def running(one: Serving, marker: Path) -> int:
    """The process of an attempt that sleeps."""
    await one.give(activity_task("a", activity_type="sleeps", input=Raw(f'["{marker}"]'.encode())))
    while not marker.exists() or not marker.read_text():
        pass
    return int(marker.read_text())


async def test_cancellation_ends_the_process_at_once(tmp_path: Path) -> None:
    """Code that never looks at anything is cancelled too, and reported so."""
    async with serving(activities=[program.sleeps]) as one:
        pid = await running(one, tmp_path / "pid")
        await one.give(pushes=[CancelActivity(token="a")])
        assert ActivityTaskCancellation(token="a") == await one.next_completion()
        until_gone(pid)


async def test_the_deadline_ends_the_process(tmp_path: Path) -> None:
    """An attempt that takes longer than it may does not keep its process."""
    async with serving(activities=[program.sleeps]) as one:
        marker = tmp_path / "pid"
        completion = await ended(
            one, "a", "sleeps", f'"{marker}"'.encode(), start_to_close_timeout=timedelta(seconds=3)
        )
        assert isinstance(completion, ActivityTaskFailure)
        until_gone(int(marker.read_text()))


async def test_a_worker_that_stops_takes_its_processes_along(tmp_path: Path) -> None:
    """Whether they run an attempt or wait for one."""
    async with serving(activities=[program.sleeps, program.pid]) as one:
        pids = [int(await result_of(one, "b", "pid")), await running(one, tmp_path / "pid")]
    for pid in pids:
        until_gone(pid)


async def test_there_are_no_more_processes_than_slots() -> None:
    """Attempts that wait for their turn use the processes of those before."""
    async with serving(activities=[program.pid], max_concurrent_activities=2) as one:
        await one.give(activity_task("a", activity_type="pid"), activity_task("b", activity_type="pid"))
        pids: set[bytes] = set()
        while len(pids) < 2:
            pids.update(bytes(each.result) for each in await one.next_completions())  # type: ignore[union-attr]
        assert await result_of(one, "c", "pid") in pids


async def test_an_attempt_can_leave_its_process() -> None:
    """It is completed from elsewhere, as one in the worker is."""
    async with serving(activities=[program.leaves]) as one:
        assert ActivityTaskDetached(token="a") == await ended(one, "a", "leaves")


async def test_no_process_is_left_unburied() -> None:
    """A worker that has stopped leaves no zombie to the process that it ran in."""
    async with serving(activities=[program.pid]) as one:
        pid = int(await result_of(one, "a", "pid"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
