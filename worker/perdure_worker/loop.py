"""The event loop of one workflow: a FIFO queue of callbacks, durable timers, and nothing of the outside world.

It runs only while `run_until_idle` or `tear_down` is on the stack, called from a plain callback of the worker's own
loop. Everything it orders it orders by creation: callbacks, tasks, their names and hashes. Its clock is what the
driver last said it is. It must not know commands, history, or the guard; timers and failures leave it through the two
ports it is given.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter, deque
from contextvars import copy_context
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, TypeVarTuple, cast

from perdure_worker.loop_drive import Drive, OutsideDrive, driving
from perdure_worker.loop_refusals import RefusingLoop, refuse
from perdure_worker.loop_tasks import WorkflowTask, describe_task, new_task, take_down, take_down_generator
from perdure_worker.loop_timers import DurableTimer, TimerPort

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from contextvars import Context

__all__ = ["ACTIVATION_STEPS_MAX", "EndlessActivationError", "TimerPort", "WorkflowLoop", "WorkflowTask"]

ACTIVATION_STEPS_MAX = 500_000
_DONE_TASKS_MAX = 16  # finished tasks kept before they are swept

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class EndlessActivationError(RuntimeError):
    """An activation ran its full number of steps and did not come to rest."""


class _Step(asyncio.Handle):
    """A callback in the ready queue, made without what asyncio's own handle asks for in debug mode."""

    __slots__ = ()

    _callback: Callable[..., object]
    _context: Context
    _repr = None
    _source_traceback = None

    def __init__(
        self, callback: Callable[..., object], args: tuple[object, ...], loop: WorkflowLoop, context: Context
    ) -> None:
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = context
        self._cancelled = False


_Queued: TypeAlias = "_Step | DurableTimer"


class WorkflowLoop(RefusingLoop):
    """The deterministic event loop of one workflow.

    `timers` keeps the durable timers. `on_unhandled` gets what asyncio would log, as the dict of
    `call_exception_handler`; it may be called by the garbage collector, on any thread. `hash_origin` is added to the
    creation numbers that tasks hash by: give each run its own (a multiple of 4096, the same on every replay, after a
    reset too), so that tasks of many parked workflows do not collide in a process-wide dict of some library.
    """

    def __init__(
        self,
        timers: TimerPort,
        on_unhandled: Callable[[dict[str, Any]], object] = lambda _context: None,
        *,
        hash_origin: int = 0,
    ) -> None:
        self._timers = timers
        self._on_unhandled = on_unhandled
        self._hash_origin = hash_origin
        self._ready: list[_Queued] | deque[_Queued] = []
        self._now = 0.0
        self._created = 0
        self._tasks: list[WorkflowTask] = []
        self._tasks_swept_at = _DONE_TASKS_MAX
        self._asyncgens: weakref.WeakValueDictionary[int, AsyncGenerator[Any, Any]] | None = None
        self._handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._closed = False

    # What the driver calls.

    def set_time(self, seconds: float) -> None:
        """Say what time it is in the workflow from now on."""
        self._now = seconds

    def run_until_idle(self, steps_max: int = ACTIVATION_STEPS_MAX) -> int:
        """Run callbacks until none is ready; return how many ran.

        A callback's exception goes to the exception handler. What does leave (EndlessActivationError,
        KeyboardInterrupt, SystemExit, an interrupt of the watchdog) leaves the loop fit only for `tear_down`.
        """
        self._refuse_reentry("run_until_idle")
        if self._closed:
            message = "this workflow's loop is closed"
            raise RuntimeError(message)
        drive = Drive(self, self._asyncgen_started, self._asyncgen_dropped)
        try:
            return self._drain(steps_max)
        finally:
            drive.leave()

    def close(self) -> None:
        """Tear down, as asyncio spells it."""
        self.tear_down()

    def tear_down(self, *, report_unretrieved: bool = False) -> list[str]:
        """Take down every task, newest first, and name those that would not end.

        From here on nothing is scheduled: callbacks are dropped, timers are dead, a new task is refused. `finally:`
        blocks do run, once, so whoever issues commands must refuse while `is_closed()`. Failures nobody looked at go
        to `on_unhandled` only if asked for: an eviction repeats what the next replay finds again.
        """
        self._refuse_reentry("tear_down")
        if self._closed:
            return []
        if report_unretrieved:
            self._report_unretrieved()
        self._closed = True
        self._ready = _NOWHERE
        drive = Drive(self, self._asyncgen_started, self._asyncgen_dropped)
        try:
            return self._take_down_all()
        finally:
            drive.leave()
            self._tasks.clear()

    def next_creation_hash(self) -> int:
        """Number the next task or handle; a Future that workflow code can put in a set hashes by this."""
        self._created += 1
        return self._hash_origin + self._created

    # What asyncio calls.

    def time(self) -> float:
        """Workflow time, as the driver set it."""
        return self._now

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback behind all that are ready."""
        handle = _Step(callback, args, self, copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback from the workflow itself; another thread is refused."""
        if driving.get(get_ident()) is not self:
            refuse("loop.call_soon_threadsafe() from another thread", "send the workflow a signal or an update")
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Start a durable timer; without a positive delay it is `call_soon`."""
        timer = DurableTimer(self._now + delay, callback, args, self, context)
        timer.number = None
        if self._closed:
            timer.cancel()
        elif delay > 0:
            timer.number = self._timers.start_timer(delay, partial(self._fire, timer))
        else:
            self._ready.append(timer)
        return timer

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Start a durable timer that fires at an instant of workflow time."""
        # Instants are seconds since 1970 in a double: what is below a microsecond is noise of the subtraction.
        return self.call_later(round(when - self._now, 6), callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        timer = cast("DurableTimer", handle)
        if timer.number is not None and not self._closed:
            self._timers.cancel_timer(timer.number)
        timer.number = None

    def create_future(self) -> asyncio.Future[Any]:
        """Make a plain future; it hashes by address, so keep it out of sets."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, _T] | Generator[Any, None, _T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[_T]:
        """Make a task, named and hashed by its place in the order of creation."""
        if self._closed:
            coro.close()
            message = "a task cannot be created: this workflow is being taken out of memory"
            raise RuntimeError(message)
        creation_hash = self.next_creation_hash()
        task = new_task(
            cast("Coroutine[Any, Any, _T]", coro),
            self,
            f"Task-{self._created}" if name is None else name,
            copy_context() if context is None else context,
            creation_hash,
        )
        # Held until done: a pending task that only garbage collection ends would end at another point on replay.
        self._tasks.append(cast("WorkflowTask", task))
        if len(self._tasks) > self._tasks_swept_at:
            self._sweep_done_tasks()
        return task

    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that are not done, in the order of their creation."""
        return [task for task in self._tasks if not task.done()]

    def get_task_factory(self) -> None:
        """There is none; anyio asks."""
        return

    def set_task_factory(self, factory: object) -> None:
        """Refuse a factory: its tasks would hash by address."""
        if factory is not None:
            refuse("loop.set_task_factory()", "tasks are made by the workflow's loop")

    def is_running(self) -> bool:
        """Whether this thread is inside this loop."""
        return driving.get(get_ident()) is self

    def is_closed(self) -> bool:
        """Whether `tear_down` has begun; commands must be refused from then on."""
        return self._closed

    def get_debug(self) -> bool:
        """Debug mode is of the worker's loop, not of this one."""
        return False

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """Do nothing: debug mode would only slow the replay."""

    # Failures that nobody awaits.

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None:
        """The handler that workflow code set."""
        return self._handler

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        """Let workflow code see its unhandled failures."""
        self._handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Pass a failure on to the worker."""
        with OutsideDrive():
            self._on_unhandled(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report a failure; one found by the garbage collector never reaches workflow code."""
        if self._closed:
            return
        if self._handler is None or driving.get(get_ident()) is not self:
            self.default_exception_handler(context)
            return
        try:
            self._handler(self, context)
        except Exception as failure:  # noqa: BLE001 - any failure goes to the handler
            self.default_exception_handler({"message": "the exception handler failed", "exception": failure})
            self.default_exception_handler(context)

    # Inside.

    def _fire(self, timer: DurableTimer) -> None:
        timer.number = None
        self._ready.append(timer)

    def _refuse_reentry(self, call: str) -> None:
        if get_ident() in driving:
            message = f"{call}() called from within a workflow's loop"
            raise RuntimeError(message)

    def _drain(self, steps_max: int) -> int:
        steps = 0
        while self._ready:
            batch, self._ready = self._ready, []
            steps += len(batch)
            if steps > steps_max:
                raise EndlessActivationError(_describe_endless(steps_max, batch))
            for handle in batch:
                if not handle._cancelled:  # noqa: SLF001 - a handle's parts are its loop's to run
                    try:
                        handle._context.run(handle._callback, *handle._args)  # noqa: SLF001 - a handle's parts are its loop's to run
                    except (Exception, asyncio.CancelledError) as failure:  # noqa: BLE001 - any failure goes to the handler
                        self.call_exception_handler(
                            {"message": "exception in a callback", "exception": failure, "handle": handle}
                        )
        return steps

    def _sweep_done_tasks(self) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks_swept_at = 2 * len(self._tasks) + _DONE_TASKS_MAX

    def _report_unretrieved(self) -> None:
        for task in self._tasks:
            if task.done() and task._log_traceback:  # noqa: SLF001 - a handle's parts are its loop's to run
                failure = task.exception()
                self.default_exception_handler(
                    {"message": "Task exception was never retrieved", "exception": failure, "task": task}
                )

    def _take_down_all(self) -> list[str]:
        tasks = [describe_task(task) for task in reversed(self._tasks) if not take_down(task, self)]
        begun = list(self._asyncgens.values()) if self._asyncgens else []
        return tasks + [repr(generator) for generator in reversed(begun) if not take_down_generator(generator)]

    def _asyncgen_started(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._asyncgens is None:
            self._asyncgens = weakref.WeakValueDictionary()
        self._created += 1
        self._asyncgens[self._created] = generator

    def _asyncgen_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        # Outside a drive only the garbage collector calls this, at a moment no replay repeats: the generator is then
        # freed without its `finally:` blocks.
        if driving.get(get_ident()) is self and not self._closed:
            _ = self.create_task(generator.aclose())


_NOWHERE: deque[_Queued] = deque(maxlen=0)


def _describe_endless(steps_max: int, batch: list[_Queued] | deque[_Queued]) -> str:
    callbacks = [handle._callback for handle in batch]  # noqa: SLF001 - a handle's parts are its loop's to run
    owners = [getattr(callback, "__self__", None) or callback for callback in callbacks]
    busy = Counter(describe_task(o) if isinstance(o, asyncio.Task) else repr(o) for o in owners)
    names = "; ".join(name for name, _ in busy.most_common(3))
    return (
        f"the workflow did not come to rest in {steps_max} steps; still running: {names}. "
        "Wait for something that takes time, not for sleep(0) in a loop"
    )
