"""The determinism guard: what a workflow gets in place of time and chance, and what it is refused."""

from __future__ import annotations

import asyncio
import contextvars
import linecache
import os
import random
import secrets
import socket
import subprocess
import threading
import time
import traceback
import uuid
import zoneinfo
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import gauss as early_gauss
from random import randint as early_randint

import pytest

from perdure import _runtime
from perdure.exceptions import NondeterminismError
from perdure_worker import guard
from tests.unit.worker.rig import START_S, SeededRuntime, guarded, inside

DRAWS: list[Callable[[], object]] = [
    random.random,
    lambda: random.randint(1, 10**9),
    lambda: early_randint(1, 10**9),
    lambda: random.sample(range(1000), 5),
    lambda: random.gauss(0, 1),
    lambda: early_gauss(0, 1),
    lambda: random.randbytes(8),
    lambda: random.Random().random(),
    lambda: os.urandom(8),
    lambda: secrets.token_hex(8),
    uuid.uuid4,
    uuid.uuid1,
]


@pytest.mark.parametrize("draw", DRAWS)
def test_chance_is_the_workflow_s(draw: Callable[[], object]) -> None:
    """Two workflows of one seed draw the same, of another seed something else."""
    drawn = []
    for seed in (1, 1, 2):
        with inside(SeededRuntime(seed)):
            drawn.append([draw() for _ in range(3)])

    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize("draw", DRAWS)
def test_chance_is_real_outside(draw: Callable[[], object]) -> None:
    """Outside of workflows nothing repeats."""
    assert draw() != draw()


def test_draws_are_those_of_the_workflow_s_generator() -> None:
    """The module's functions and the workflow's own generator are one stream."""
    with inside(SeededRuntime(3)):
        drawn = [random.random(), random.randint(0, 99), random.gauss(0, 1), random.choice("abc")]
    generator = random.Random(3)

    assert [generator.random(), generator.randint(0, 99), generator.gauss(0, 1), generator.choice("abc")] == drawn


def test_gauss_leaks_nothing_to_the_next_workflow() -> None:
    """The second value that `gauss` keeps stays with the workflow that drew the first."""
    with inside(SeededRuntime(1)):
        random.gauss(0, 1)
    with inside(SeededRuntime(2)):
        second = random.gauss(0, 1)

    assert random.Random(2).gauss(0, 1) == second


def test_seeding_stays_within_the_workflow() -> None:
    """`random.seed()` in a workflow seeds its own generator and leaves that of the process alone."""
    before = random.getstate()
    runtime = SeededRuntime(1)
    with inside(runtime):
        random.seed(99)

    assert random.Random(99).random() == runtime.generator.random()
    assert before == random.getstate()


def test_read_only_code_draws_real_chance() -> None:
    """A query leaves the workflow's generator where it was."""
    runtime = SeededRuntime(1, read_only=True)
    before = runtime.generator.getstate()
    with inside(runtime):
        values = {random.random(), random.random(), uuid.uuid4(), os.urandom(8)}

    assert 4 == len(values)
    assert before == runtime.generator.getstate()


@pytest.mark.parametrize("clock", [time.time, time.monotonic, time.perf_counter])
def test_clocks_stand_at_workflow_time(clock: Callable[[], float]) -> None:
    """Every clock of `time` reads the workflow's time."""
    with inside(SeededRuntime()):
        assert START_S == clock()

    assert START_S != clock()


def test_clocks_of_nanoseconds_and_of_calendars() -> None:
    """The other forms of the clocks agree."""
    with inside(SeededRuntime()):
        assert int(START_S) * 10**9 == time.time_ns() == time.monotonic_ns()
        assert time.gmtime(START_S) == time.gmtime()
        assert time.ctime(START_S) == time.ctime() == time.asctime()
        assert time.strftime("%Y", time.localtime(START_S)) == time.strftime("%Y")
        assert 1970 == time.gmtime(0).tm_year


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: Path(__file__).read_text(encoding="utf-8"), "open"),
    (lambda: os.listdir("."), "os.listdir"),  # noqa: PTH208 - the subject
    (socket.socket, "socket"),
    (lambda: socket.getaddrinfo("localhost", 1), "getaddrinfo"),
    (lambda: subprocess.run(["true"], check=False), "subprocess.Popen"),
    (lambda: os.system("true"), "os.system"),
    (partial(time.sleep, 1), "asyncio.sleep"),
    (threading.Thread(target=print).start, "asyncio.create_task"),
]


@pytest.mark.parametrize(("call", "says"), REFUSED)
def test_outside_world_is_refused(call: Callable[[], object], says: str) -> None:
    """Files, sockets, processes, sleeps and threads raise an error that names the call or what to use instead."""

    async def program() -> None:
        call()

    with pytest.raises(NondeterminismError, match=says):
        guarded(program)


def test_outside_of_workflows_all_is_allowed() -> None:
    """The same calls do what they always do elsewhere."""
    thread = threading.Thread(target=time.sleep, args=(0,))
    thread.start()
    thread.join()

    assert Path(__file__).exists()
    socket.socket().close()


def test_what_the_interpreter_reads_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports, tracebacks and time zones read files inside a workflow."""
    (tmp_path / "imported_in_a_workflow.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    async def program() -> tuple[object, str, str]:
        import imported_in_a_workflow  # type: ignore[import-not-found]

        linecache.clearcache()
        try:
            raise ValueError  # its traceback is the subject
        except ValueError:
            shown = traceback.format_exc()
        return imported_in_a_workflow.answer, shown, str(zoneinfo.ZoneInfo.no_cache("Europe/Oslo"))

    answer, shown, zone = guarded(program)

    assert (42, "Europe/Oslo") == (answer, zone)
    assert "its traceback is the subject" in shown


def test_task_in_an_empty_context_is_refused() -> None:
    """A task that lost its context is told so, rather than given real values."""

    async def lost() -> float:
        return time.time()

    async def program() -> float:
        return await asyncio.create_task(lost(), context=contextvars.Context())

    with pytest.raises(NondeterminismError, match="empty Context"):
        guarded(program)


def test_suspension_gives_real_values() -> None:
    """The worker's own code, run within a workflow, sees the real world and leaves the workflow's as it was."""

    async def program() -> tuple[float, float, bool]:
        with guard.workflow_values_suspended():
            suspended = time.time()
            readable = Path(__file__).exists() and bool(Path(__file__).read_text(encoding="utf-8"))
        return suspended, time.time(), readable

    suspended, after, readable = guarded(program)

    assert START_S != suspended
    assert (START_S, True) == (after, readable)


def test_second_install_does_nothing() -> None:
    """Installing again leaves the patches as they are, and another variable is refused."""
    patched = time.time
    guard.install(_runtime.current)

    assert patched is time.time
    other: contextvars.ContextVar[SeededRuntime | None] = contextvars.ContextVar("other")
    with pytest.raises(RuntimeError, match="already"):
        guard.install(other)


def test_wait_on_bare_futures_is_refused() -> None:
    """Plain futures hash by address, so a set of them has no order."""

    async def program() -> None:
        await asyncio.wait([asyncio.get_running_loop().create_future()])

    with pytest.raises(NondeterminismError, match="bare future"):
        guarded(program)


def test_as_completed_on_a_set_of_coroutines_is_refused() -> None:
    """A set of coroutines has lost the order in which their tasks should be made."""
    coroutines = [asyncio.sleep(0), asyncio.sleep(0)]

    async def program() -> None:
        asyncio.as_completed(set(coroutines))

    with pytest.raises(NondeterminismError, match="give it a list"):
        guarded(program)
    for coroutine in coroutines:
        coroutine.close()


def test_as_completed_makes_tasks_in_the_order_given() -> None:
    """Coroutines given to `as_completed` become tasks in their order, not in that of their addresses."""
    begun: list[int] = []

    async def begin(number: int) -> None:
        begun.append(number)

    async def program() -> None:
        for done in asyncio.as_completed([begin(number) for number in range(50)]):
            await done

    guarded(program)

    assert list(range(50)) == begun


def test_all_tasks_are_the_workflow_s_own() -> None:
    """`asyncio.all_tasks()` knows no task of another workflow."""

    async def program() -> list[str]:
        child = asyncio.create_task(asyncio.sleep(0))
        names = sorted(task.get_name() for task in asyncio.all_tasks())
        await child
        return names

    assert ["Task-1", "Task-2"] == guarded(program)
