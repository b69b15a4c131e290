"""Runs workflow and query tasks: finds or makes the instance, drives it, hands in what it asks for.

Activations run on the worker's own thread, from a loop callback and never inside a task: they are short and bound by
CPU, and a hop to another thread would cost more than most of them. A callback works for a bounded time, so that
answers and heartbeats get through between. While local activities run, the task stays open; before it would time out
it is completed with a request for another, which keeps them alive.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import Final

from msgspec import Raw, Struct

from perdure_proto.codec import encoder
from perdure_proto.tasks import (
    AnyCompletion,
    CompletionResult,
    QueryResult,
    QueryTask,
    QueryTaskCompletion,
    TaskReturned,
    WorkflowTask,
    WorkflowTaskCompletion,
    WorkflowTaskFailure,
)
from perdure_worker.cache import Cache, CachedRun
from perdure_worker.completions import Completions
from perdure_worker.faults import broken
from perdure_worker.local_activities import LocalActivities
from perdure_worker.outcome import InstanceOptions, LocalActivityResult, Outcome, sole_activity
from perdure_worker.past import Past, is_whole
from perdure_worker.registry import Registry
from perdure_worker.responder import Then, forget
from perdure_worker.runtime import WorkflowInstance
from perdure_worker.slots import Slots
from perdure_worker.telemetry import (
    HISTORY_FETCHED,
    TASK_RETURNED,
    WORKFLOW_TASK_FAILED,
    WORKFLOW_TASK_REFUSED,
    log,
)

TURN_SECONDS: Final = 0.002
"""How long activations may keep the loop before it looks at its sockets."""
FORCE_NEW_TASK_SHARE: Final = 0.8
"""Of the task timeout, after which a task that waits for local activities is completed with a request for another."""

Turn = WorkflowTask | QueryTask


class WorkflowParts(Struct, frozen=True, kw_only=True):
    """What running workflow tasks needs."""

    registry: Registry
    cache: Cache
    slots: Slots
    completions: Completions
    local_activities: LocalActivities
    past: Past
    options: InstanceOptions


class WorkflowTasks:
    """The workflow side of a worker."""

    def __init__(self, parts: WorkflowParts) -> None:
        self._parts = parts
        self._cache = parts.cache
        self._due: deque[Turn] = deque()
        self._scheduled = False
        self._fetching: dict[str, asyncio.Task[Turn]] = {}

    def begin(self, task: Turn) -> None:
        """Takes a task, to be run in one of the next callbacks."""
        self._due.append(task)
        self._schedule()

    def evict(self, run_id: str, reason: str) -> None:
        """Forgets a run; its task that waits for local activities, if there is one, goes back."""
        run = self._cache.get(run_id)
        if run is not None and run.turn is not None:
            self._give_back(run.turn, reason)
        self._cache.evict(run_id, reason)

    def stop(self) -> None:
        """Gives back what has not begun, and what waits for local activities."""
        while self._due:
            self._give_back(self._due.popleft(), "the worker stops")
        for fetch in self._fetching.values():
            fetch.cancel()
        for run in self._cache.in_turn():
            self.evict(run.run_id, "the worker stops")

    # ---- which task, on which run ------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run_due)

    def _run_due(self) -> None:
        self._scheduled = False
        until = time.monotonic() + TURN_SECONDS  # not the loop's time: uvloop stops that for as long as a callback runs
        while self._due:
            self._run(self._due.popleft())
            if time.monotonic() >= until:
                break
        if self._due:
            self._schedule()
        self._cache.shrink()

    def _run(self, task: Turn) -> None:
        if task.run_id in self._fetching:
            self._fetching[task.run_id].add_done_callback(lambda _: self.begin(task))
            return
        run = self._cache.get(task.run_id)
        if run is not None and not run.goes_on_with(task):
            self.evict(task.run_id, "the task does not go on where the run stands")
            run = None
        if run is None and not is_whole(task):
            self._fetch(task)
            return
        try:
            self._drive(run or self._new_run(task), task)
        except Exception as error:  # noqa: BLE001 - what breaks the worker's own code fails one task, not the worker
            self._fail(task, Outcome(commands=[], local_activities=[], local_cancelled=[], error=error))

    def _new_run(self, task: Turn) -> CachedRun:
        definition = self._parts.registry.workflow(task.workflow_type)
        instance = WorkflowInstance(definition, self._parts.options, workflow_id=task.workflow_id, run_id=task.run_id)
        run = CachedRun(task.run_id, instance)
        self._cache.put(run)
        return run

    def _fetch(self, task: Turn) -> None:
        """Runs the task once its whole history is here."""
        fetch = asyncio.get_running_loop().create_task(self._parts.past.complete(task))
        self._fetching[task.run_id] = fetch
        fetch.add_done_callback(partial(self._fetched, task))

    def _fetched(self, task: Turn, fetch: asyncio.Task[Turn]) -> None:
        del self._fetching[task.run_id]
        if fetch.cancelled():
            self._give_back(task, "the worker stops")
        elif error := fetch.exception():
            self._give_back(task, f"its history could not be fetched: {error}")
        else:
            log.debug(HISTORY_FETCHED, workflow_id=task.workflow_id, run_id=task.run_id)
            self.begin(fetch.result())

    # ---- one turn ----------------------------------------------------------------------------------------------

    def _drive(self, run: CachedRun, task: Turn) -> None:
        if isinstance(task, QueryTask):
            self._hand_in(QueryTaskCompletion(token=task.token, results=run.instance.answer(task)))
            return
        run.turn = task
        self._settle(run, task, run.instance.activate(task))

    def _settle(self, run: CachedRun, task: WorkflowTask, outcome: Outcome) -> None:
        """Starts what is to run here; completes the task, unless it waits for that."""
        if outcome.failure is not None:
            self._fail(task, outcome)
            return
        for activity_id in outcome.local_cancelled:
            run.cancel_local(activity_id)
        for activity in outcome.local_activities:
            ended = partial(self._local_ended, run)
            run.local[activity.activity_id] = self._parts.local_activities.start(task, activity, ended)
        if outcome.local_pending and not outcome.closed:
            self._keep_open(run, task, outcome)
        else:
            self._complete(run, task, outcome, force_new_task=False)

    def _keep_open(self, run: CachedRun, task: WorkflowTask, outcome: Outcome) -> None:
        run.outcome = outcome
        if run.turn_timer is None:
            delay = task.task_timeout.total_seconds() * FORCE_NEW_TASK_SHARE
            run.turn_timer = asyncio.get_running_loop().call_later(delay, self._force_new_task, run, task)

    def _force_new_task(self, run: CachedRun, task: WorkflowTask) -> None:
        if run.outcome is not None:
            run.instance.end_turn()
            self._complete(run, task, run.outcome, force_new_task=True)

    def _local_ended(self, run: CachedRun, result: LocalActivityResult) -> None:
        """The workflow goes on within its open task; between two tasks the instance keeps the result."""
        if run.gone:
            return
        run.local.pop(result.activity_id, None)
        task = run.turn
        outcome = run.instance.resolve(result)
        if task is not None:
            self._settle(run, task, outcome)

    def _complete(self, run: CachedRun, task: WorkflowTask, outcome: Outcome, *, force_new_task: bool) -> None:
        run.end_turn()
        run.awaits = None if force_new_task else sole_activity(outcome.commands)
        if outcome.closed or not (self._cache.keeps or force_new_task):  # what runs here is awaited here
            self._cache.discard(run.run_id)
        completion = WorkflowTaskCompletion(
            token=task.token,
            commands=Raw(encoder.encode(outcome.commands)),
            force_new_task=force_new_task,
            cached=not run.gone,
            current_details=outcome.current_details,
        )
        self._hand_in(completion, partial(self._answered, task.run_id))

    def _answered(self, run_id: str, result: CompletionResult) -> None:
        """A refused turn never happened, but the instance is past it: it must go."""
        if result.code is not None:
            log.info(WORKFLOW_TASK_REFUSED, run_id=run_id, code=result.code, error=result.message)
            self.evict(run_id, result.code)

    def _fail(self, task: Turn, outcome: Outcome) -> None:
        """The task failed; the workflow is parked, and the run is replayed from the start when it is tried again."""
        failure = outcome.failure or broken(outcome.error)
        log.warning(
            WORKFLOW_TASK_FAILED,
            workflow_id=task.workflow_id,
            run_id=task.run_id,
            workflow_type=task.workflow_type,
            cause=outcome.cause,
            error=failure.message,
            exc_info=outcome.error,
        )
        self._cache.evict(task.run_id, "its task failed")
        if isinstance(task, QueryTask):
            results = tuple([QueryResult(query_id=query.query_id, failure=failure) for query in task.queries])
            self._hand_in(QueryTaskCompletion(token=task.token, results=results))
        else:
            self._hand_in(WorkflowTaskFailure(token=task.token, cause=outcome.cause, failure=failure))

    def _give_back(self, task: Turn, reason: str) -> None:
        log.info(TASK_RETURNED, kind=type(task).__name__, workflow_id=task.workflow_id, reason=reason)
        self._hand_in(TaskReturned(token=task.token))

    def _hand_in(self, completion: AnyCompletion, then: Then = forget) -> None:
        """Gives the slot back too: the request which carries the completion may ask for it."""
        self._parts.completions.submit(completion, then)
        self._parts.slots.give_workflow()
