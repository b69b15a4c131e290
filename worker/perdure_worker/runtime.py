"""One workflow in memory: from the task that arrives to the commands that leave.

It owns the order in which things happen. First activation: the body runs to rest, then messages and cancellation are
applied, then the loop runs to rest. Every later one: all that arrived is applied in the order of history, then the loop
runs once to rest. Updates are last, queries after everything. At rest the conditions are asked, in order of creation,
until none becomes true. An activation that brings nothing runs nothing, so that nothing advances that is not in the
log. After a failed task the instance is of no more use: it is closed, and the next attempt replays. It must not know
HTTP, slots or caches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Final, NamedTuple

from perdure._definition import WorkflowDefinition
from perdure._runtime import current
from perdure.exceptions import NondeterminismError
from perdure_proto import events as ev
from perdure_proto.codec import decode_events
from perdure_proto.commands import CompleteWorkflowExecution
from perdure_proto.events import AnyEvent, WorkflowTaskFailedCause
from perdure_proto.tasks import QueryResult, QueryTask, WorkflowTask
from perdure_worker.endings import Ending
from perdure_worker.loop import ACTIVATION_STEPS_MAX
from perdure_worker.messages import Handlers, Signals
from perdure_worker.news import apply
from perdure_worker.origins import waiting_at
from perdure_worker.outcome import InstanceOptions, LocalActivityResult, Outcome
from perdure_worker.queries import answer
from perdure_worker.replay import Activation, HistoryReader, MismatchError
from perdure_worker.replay.foresight import Foresight, foresee
from perdure_worker.replay.machines.table import IllegalTransitionError
from perdure_worker.run import Run
from perdure_worker.updates import Update, accepted, delivered
from perdure_worker.workflow_calls import Parts, WorkflowCalls
from perdure_worker.workflow_interception import intercept

NONDETERMINISM: Final = (MismatchError, IllegalTransitionError, NondeterminismError)
"""What says that code and history do not agree, or that the code cannot be replayed."""


class BlockedWorkflowError(Exception):
    """Workflow code held its thread for too long."""


class Told(NamedTuple):
    """What a workflow task tells of the history besides its events."""

    history_size_bytes: int
    suggest_continue_as_new: bool


class WorkflowInstance:
    """A workflow in memory: made from its definition, fed with tasks, closed on eviction.

    All methods are synchronous and belong to one thread; none raises for what workflow code did (see `Outcome`).
    """

    def __init__(
        self, definition: WorkflowDefinition, options: InstanceOptions, *, workflow_id: str, run_id: str
    ) -> None:
        run = Run(options, definition, (workflow_id, run_id))
        handlers = Handlers()
        self._run = run
        self._ending = Ending(run, handlers)
        self._ending.signals = Signals(run, handlers, self._ending)
        self._parts = Parts(run, handlers, self._ending.signals)
        self._reader = HistoryReader()
        self._context = Context()
        self._context.run(current.set, WorkflowCalls(self._parts))
        self._in_turn = False
        self._broken = False
        self._early: list[LocalActivityResult] = []
        self._unwritten = False
        """Whether the last task brought nothing but updates that were all refused."""
        self._idle: Activation | None = None
        """The activation of this turn, where it brought nothing: it is entered when a local activity ends."""
        self._steps_left = ACTIVATION_STEPS_MAX
        self.previous_started_event_id = 0
        """The task that it processed last."""

    # What the worker calls.

    def fits(self, task: WorkflowTask | QueryTask) -> bool:
        """Whether the task goes on where this instance stands. If not: `close()` it and replay the whole history."""
        if self._broken or self._run.gone:
            return False
        if isinstance(task, QueryTask):
            return bytes(task.events) == b"[]" or task.history_from <= self._reader.next_event_id
        return (
            task.previous_started_event_id == self.previous_started_event_id
            and task.history_from <= self._reader.next_event_id
        )

    def activate(self, task: WorkflowTask) -> Outcome:
        """Runs the turn: replays what `task.events` says was done, then the news and `task.updates`."""
        updates = [delivered(one) for one in task.updates]
        return self._outcome(lambda: self._read(decode_events(task.events), updates))

    def go_on(self, events: Sequence[AnyEvent]) -> Outcome:
        """Runs the turn to which events will lead that the log does not have yet. If it is not taken: `close()`."""
        return self._outcome(lambda: self._read(events, []))

    @property
    def keeps_results(self) -> bool:
        """Whether local activities ended since the last task, of which nobody else knows."""
        return bool(self._early)

    @property
    def closed(self) -> bool:
        """Whether a command has closed the run."""
        return self._run.execution.closed

    @property
    def told(self) -> Told:
        """What the last task told the workflow of its history."""
        return Told(self._run.history_size_bytes, self._run.suggest_continue_as_new)

    def tell_size(self, history_size_bytes: int) -> None:
        """The service took an eager turn, after which the history is this large: the next one says so."""
        self._run.history_size_bytes = history_size_bytes

    def resolve(self, result: LocalActivityResult) -> Outcome:
        """A local activity ended: goes on within the same task; between two tasks the result is kept for the next."""
        if not self._in_turn:
            self._early.append(result)
            return Outcome(commands=[], local_activities=[], local_cancelled=[])
        return self._outcome(partial(self._end_local, result))

    def end_turn(self) -> None:
        """The commands of the last outcome were handed in: until the next task nothing moves.

        To be called where an outcome with `local_pending` is completed with `force_new_task`; others end by themselves.
        """
        self._in_turn = False

    def replay(self, events: Sequence[AnyEvent]) -> BaseException | None:
        """Replays the completed tasks of a whole history; why it does not go as it went, if it does not."""
        return self._guarded(partial(self._read, events, None))

    def answer(self, task: QueryTask) -> tuple[QueryResult, ...]:
        """Answers queries, after replaying `task.events` if it is not empty."""
        error = self._guarded(lambda: self._read(decode_events(task.events), None))
        if error is not None:
            failure = self._run.failure_of(error)
            return tuple([QueryResult(query_id=query.query_id, failure=failure) for query in task.queries])
        return tuple([self._context.run(answer, self._run, self._parts.handlers, query) for query in task.queries])

    def close(self) -> None:
        """Tears down without letting user code issue commands."""
        if self._run.started is not None and not self._run.gone:
            self._run.replaying = True
            self._context.run(self._run.loop.tear_down)
        self._broken = True

    # One drive, from outside.

    def _outcome(self, work: Callable[[], None]) -> Outcome:
        """What a drive asks for, or why the task failed."""
        error = self._guarded(work)
        if error is not None:
            return Outcome(
                commands=[],
                local_activities=[],
                local_cancelled=[],
                cause=_cause_of(error),
                failure=self._run.failure_of(error),
                error=error,
            )
        activities, execution = self._parts.activities, self._run.execution
        closed = execution.closed
        if closed:
            self._ending.warn_of_abandoned()
        outcome = Outcome(
            commands=execution.commands(),
            local_activities=[] if closed else activities.told(),
            local_cancelled=activities.cancelled(),
            local_pending=0 if closed else activities.local_pending,
            closed=closed,
            current_details=self._run.news_of_details,
        )
        self._in_turn = outcome.local_pending > 0
        return outcome

    def _guarded(self, work: Callable[[], None]) -> BaseException | None:
        """Runs it in the workflow's context; the error that fails the task, if there is one."""
        self._steps_left = ACTIVATION_STEPS_MAX
        try:
            self._context.run(work)
        except (MismatchError, IllegalTransitionError) as error:
            self._run.fail_task(self._told_apart(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what it is, the outcome says
            self._run.fail_task(error)
        ended = self._run.execution.closed_by
        if self._parts.dropped_call and (ended is None or isinstance(ended, CompleteWorkflowExecution)):
            self._run.fail_task(TypeError(self._parts.dropped_call))
        self._broken = self._broken or self._run.task_failure is not None
        return self._run.task_failure

    def _told_apart(self, error: MismatchError | IllegalTransitionError) -> NondeterminismError:
        """The error that users know, with the line where the code waits when it did less than history says."""
        text = str(error)
        if isinstance(error, MismatchError) and error.origin is None and self._run.started is not None:
            where = waiting_at(self._run.loop.tasks())
            text += f" (the workflow waits at {where})" if where is not None else ""
        told = NondeterminismError(text)
        told.__cause__ = error
        return told

    # What a task brings.

    def _read(self, events: Sequence[AnyEvent], updates: list[Update] | None) -> None:
        """Replays what was done before, then runs what is new; without `updates` (a query) nothing is new."""
        for step in self._reader.read(events, live=updates is not None):
            if isinstance(step, list):
                self._run.execution.confirm(step, self.previous_started_event_id + 1)
            elif step.recorded is None:
                self._go_live(step, updates or [])
            else:
                self._replay(step, step.recorded)
            if self._run.task_failure is not None:
                return

    def _replay(self, turn: Activation, recorded: list[AnyEvent]) -> None:
        """One activation as it was."""
        self._run.replaying = True
        ahead = foresee(recorded)
        self._parts.recorded_patches.update(ahead.patches)
        if not self._is_idle(turn, ahead):
            self._enter(turn)
            self._apply(turn.news, [accepted(event) for event in ahead.updates])
            for marker in ahead.local_activities:
                self._parts.activities.replay_local(marker)
                self._rest()
        self._run.replaying = False
        self.previous_started_event_id = turn.started_event_id
        if self._run.task_failure is None:
            self._run.execution.confirm(recorded, turn.started_event_id + 1)

    def _go_live(self, turn: Activation, updates: list[Update]) -> None:
        """The activation that runs for the first time."""
        self._in_turn, self._idle = True, None
        self._run.details_told = self._run.current_details
        if self._unwritten:
            self._run.execution.forget_rejections()
            self._unwritten = False
        if not turn.news and self._run.main is not None:
            updates = self._first_accepted(updates)
            if not updates and self._run.execution.commands() and not self._parts.activities.local_pending:
                self._reader.unread(turn)
                self._unwritten = True
                return
        if turn.news or updates:
            self._enter(turn)
            self._apply(turn.news, updates)
            self._parts.updates.reject_waiting()
        else:
            self._idle = turn
        self.previous_started_event_id = turn.started_event_id
        early, self._early = self._early, []
        for result in early if not self._run.execution.closed else ():  # its marker could not be recorded any more
            self._end_local(result)

    def _first_accepted(self, updates: list[Update]) -> list[Update]:
        """Of a task that brought nothing else: the updates from the first that is let pass; before it, all are refused.

        Those without a handler are kept, in case an accepted one declares it; if none is accepted they are refused.
        """
        unhandled: list[Update] = []
        for index, update in enumerate(updates):
            if not self._parts.updates.has_handler(update.name):
                unhandled.append(update)
                continue
            refusal = self._parts.updates.judge(update)
            if refusal is None:
                update.accepted = True
                return [*unhandled, *updates[index:]]
            self._parts.updates.reject(update, refusal)
        for update in unhandled:
            self._parts.updates.deliver(update)
        self._parts.updates.reject_waiting()
        return []

    def _is_idle(self, turn: Activation, ahead: Foresight) -> bool:
        """Whether an activation brought nothing: a worker only kept its task alive."""
        return self._run.main is not None and not turn.news and not ahead.updates and not ahead.local_activities

    # The order of things.

    def _enter(self, turn: Activation) -> None:
        """It is this late; the first activation makes the main task."""
        run = self._run
        if run.main is None:
            started = turn.news[0]
            assert isinstance(started, ev.WorkflowExecutionStarted)
            run.begin(started, self._parts.timers)
            run.began_at = turn.time
            run.set_time(turn.time)
            run.inbound = intercept(self._parts)  # before the task, which keeps the context that it is made in
            run.main = run.loop.create_task(self._ending.run_main(), name="main")
        run.set_time(turn.time)
        if turn.reseed:
            run.reseed(turn.reseed)
        run.history_length = turn.started_event_id
        run.history_size_bytes = turn.history_size_bytes
        run.suggest_continue_as_new = turn.suggest_continue_as_new

    def _apply(self, news: list[AnyEvent], updates: list[Update]) -> None:
        if news and isinstance(news[0], ev.WorkflowExecutionStarted):
            news = news[1:]
            self._rest()
        for event in news:
            apply(self._parts, event)
        for update in updates:
            self._parts.updates.deliver(update)
        self._rest()

    def _rest(self) -> None:
        """Runs the loop until it rests and no condition becomes true."""
        while True:
            self._run_loop()
            if self._run.task_failure is not None or not self._parts.conditions.check():
                return

    def _run_loop(self) -> None:
        """Watched: code that blocks the thread is interrupted, and fails the task with its stack."""
        loop, watchdog = self._run.loop, self._run.options.watchdog
        if watchdog is None:
            self._steps_left -= loop.run_until_idle(self._steps_left)
            return
        steps, stall = watchdog.run(partial(loop.run_until_idle, self._steps_left))
        if stall is not None:
            raise BlockedWorkflowError(
                f"workflow code held its thread for {stall.blocked_s:.1f} s: it must await, or leave the work to an "
                f"activity\n{stall.stack}"
            )
        self._steps_left -= steps

    def _end_local(self, result: LocalActivityResult) -> None:
        """A turn that brought nothing else begins with the first local activity that ends in it, as on replay."""
        if self._idle is not None and self._parts.activities.is_pending(result.activity_id):
            turn, self._idle = self._idle, None
            self._enter(turn)
            self._apply([], [])
        if self._parts.activities.end_local(result):
            self._rest()


def _cause_of(error: BaseException) -> WorkflowTaskFailedCause:
    if isinstance(error, NONDETERMINISM):
        return "NON_DETERMINISTIC_ERROR"
    return "WORKFLOW_WORKER_UNHANDLED_FAILURE"
