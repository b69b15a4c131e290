"""Tasks for workers: built at hand-out, taken back when they do not arrive, and what becomes of lost workers.

This is the engine's side of `matching.port.TaskSource`. Law: a workflow task's start lives in memory and in its token;
an activity's start is a row one second after its delivery was acknowledged, or before hand-out when the attempt is
the last allowed or holds a permit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from perdure_proto import events as ev
from perdure_proto.codec import encode_events, join_arrays
from perdure_proto.errors import ServiceError
from perdure_proto.options import merged_priority
from perdure_proto.tasks import ActivityTask, AnyCompletion, AnyTask, CompletionResult, WorkflowTask
from perdure_server.engine.execution import Execution
from perdure_server.engine.tokens import ActivityToken, QueryToken, WorkflowToken, is_activity, parse
from perdure_server.history import requests as req
from perdure_server.history.deadlines import Deadline
from perdure_server.history.state import ActivityState, StartedTask, WorkflowTaskState
from perdure_server.history.transitions.workflow_task import suggests_continue_as_new
from perdure_server.matching.port import Session, TaskKind, TaskRef
from perdure_server.store.port import HistoryRow, StoreUnavailableError

if TYPE_CHECKING:
    from perdure_server.engine.completions import Completions
    from perdure_server.engine.engine import Engine
    from perdure_server.engine.queries import Queries

_ROW_SWEEP_SECONDS = 0.25
_READ_AGAIN_SECONDS = 1.0


class Handout:
    """Gives tasks out and takes them back."""

    def __init__(self, engine: Engine, completions: Completions, queries: Queries) -> None:
        self._engine = engine
        self._completions = completions
        self._queries = queries
        self._unwritten: deque[tuple[float, ActivityToken]] = deque()
        self._sweep: asyncio.TimerHandle | None = None

    async def take(self, ref: TaskRef, session: Session) -> AnyTask | None:
        """Builds a task and marks it as started; None when the offer is stale or cannot be met now."""
        try:
            if ref.kind == "query":
                return await self._queries.take(ref, session)
            execution = await self._engine.residents.find_run(ref.shard_id, ref.run_id)
            if execution is None or execution.is_lost:
                return None
            execution.offered.discard((ref.kind, ref.scheduled_event_id))
            if ref.kind == "activity":
                return await self._activity(execution, ref, session)
            return await self._workflow(execution, ref, session)
        except ServiceError:
            return None  # the run is being read again, and offers its tasks anew then

    def received(self, token: str, session: Session) -> None:
        """Acknowledged: a second later the start of an activity is kept beside the log."""
        parsed = _known(token) if is_activity(token) else None
        if not isinstance(parsed, ActivityToken):
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + self._engine.settings.activity_started_after.total_seconds()
        self._unwritten.append((due, parsed))
        if self._sweep is None:
            self._sweep = loop.call_at(due + _ROW_SWEEP_SECONDS, self._write_rows)

    def undelivered(self, token: str, session: Session) -> None:
        """Never acknowledged, and nobody will: due again, no attempt counted."""
        self._give_back(token)

    def quiet(self, session: Session, tokens: list[str]) -> None:
        """The worker is silent: its workflow tasks go to others, and nothing is sent to its cache first."""
        for token in tokens:
            if not isinstance(_known(token), ActivityToken):
                self._give_back(token)

    def lost(self, session: Session, tokens: list[str]) -> None:
        """The worker is gone: its attempts count as failed."""
        for token in tokens:
            parsed = _known(token)
            execution = self._execution(parsed) if isinstance(parsed, ActivityToken) else None
            if execution is None or not isinstance(parsed, ActivityToken):
                continue
            activity = execution.state.activities.get(parsed.scheduled_event_id)
            if activity is not None and (activity.attempt, activity.started_at) == (parsed.attempt, parsed.started_at):
                self._engine.lose_attempt(execution, parsed.scheduled_event_id)

    def held(self, session: Session, tokens: Sequence[str]) -> None:
        """What a worker was given by a former owner: it need not be given to another."""
        self._engine.forgive(session.namespace, session.queue, session.worker.build_id)
        for token in tokens:
            parsed = _known(token)
            execution = self._execution(parsed) if parsed is not None else None
            if execution is None:
                continue
            if isinstance(parsed, ActivityToken):
                self._confirm(execution, parsed, session)
            elif isinstance(parsed, WorkflowToken):
                self._reclaim(execution, parsed, session)

    async def complete(
        self, namespace: str, session: Session, completions: Sequence[AnyCompletion]
    ) -> list[CompletionResult]:
        """Answers of a worker, once they are durable."""
        return await self._completions.complete(namespace, session, completions)

    async def refill(self, namespace: str, task_queue: str, kind: str, room: int) -> int:
        """Pages parked tasks back."""
        group: TaskKind = "activity" if kind == "activity" else "workflow"
        return await self._engine.parking.refill(namespace, task_queue, group, room)

    def stop(self) -> None:
        """No more rows are written."""
        if self._sweep is not None:
            self._sweep.cancel()

    async def _workflow(self, execution: Execution, ref: TaskRef, session: Session) -> AnyTask | None:
        """Law: a worker sees only what is in the log, so that its answer can be taken by any later owner.

        The start comes first, for nothing is written while a task is started; then what was staged before it lands.
        """
        sticky = bool(ref.sticky_session) and execution.sticky_session == session.id == ref.sticky_session
        started: StartedTask | None = self._engine.transact(execution, req.StartWorkflowTask(session=session.id)).answer
        task = execution.state.workflow_task
        if started is None or task is None:
            return None
        self._watch(execution, started)
        try:
            await execution.landed()
            events = execution.events_since(execution.state.previous_started_event_id) if sticky else None
            if events is None:
                sticky = False
                events = await self.whole_history(execution)
        except StoreUnavailableError:
            token = str(_token(execution, task, started))
            asyncio.get_running_loop().call_later(_READ_AGAIN_SECONDS, self._give_back, token)
            return None
        if execution.is_lost or execution.state.workflow_task is not task or task.started is not started:
            return None  # it ended while its history was read
        events.append(encode_events(self._in_memory(execution, task, started, session)))
        return WorkflowTask(
            token=str(_token(execution, task, started)),
            workflow_id=execution.workflow_id,
            run_id=execution.run_id,
            workflow_type=execution.state.started.workflow_type,
            events=Raw(join_arrays(events)),
            history_from=execution.state.previous_started_event_id + 1 if sticky else 1,
            previous_started_event_id=execution.state.previous_started_event_id,
            started_event_id=started.started_event_id,
            attempt=task.attempt,
            task_timeout=execution.state.started.workflow_task_timeout,
            updates=tuple(execution.state.admitted[update_id].delivery for update_id in started.updates),
        )

    async def whole_history(self, execution: Execution) -> list[bytes]:
        """All events of a run, encoded: from memory where they are, else from the log; with what is staged."""
        events = execution.events_since(0)
        if events is not None:
            return events
        await execution.landed()
        settings, rows = self._engine.settings, list[HistoryRow]()
        after = 0
        while True:
            page = await self._engine.store.history(*_key(execution), after, settings.history_page_rows)
            rows.extend(page)
            if len(page) < settings.history_page_rows:
                break
            after = page[-1].last_event_id
        known = rows[-1].last_event_id if rows else 0
        newer = execution.events_since(known)
        if newer is None:
            return await self.whole_history(execution)
        return [*(row.events for row in rows), *newer]

    async def _activity(self, execution: Execution, ref: TaskRef, session: Session) -> AnyTask | None:
        engine = self._engine
        offered = execution.state.activities.get(ref.scheduled_event_id)
        if offered is not None and ref.task_queue != (
            offered.scheduled.task_queue or execution.state.started.task_queue
        ):
            engine.offer_activity(execution, ref.scheduled_event_id)  # it was given another queue since
            return None
        has_limit = offered is not None and offered.scheduled.concurrency_max is not None
        if offered is not None and has_limit and not engine.permits.admit(execution, offered):
            return None  # it is offered again when its turn has come
        request = req.StartActivity(
            scheduled_event_id=ref.scheduled_event_id,
            attempt=ref.attempt,
            started_at=engine.now(),
            identity=session.worker.identity,
            session=session.id,
            stamp=offered.stamp if offered is not None else 0,
        )
        activity: ActivityState | None = engine.transact(execution, request).answer
        if activity is None:
            engine.offer_activity(execution, ref.scheduled_event_id)  # the offer was of an attempt that is over
            return None
        policy = activity.scheduled.retry_policy
        if has_limit or (policy is not None and policy.maximum_attempts == activity.attempt):
            engine.transactor.write_row(execution, ref.scheduled_event_id)
            await execution.landed()
        if activity.started_at != request.started_at:
            return None  # it ended while its row was written
        return activity_task(execution, activity)

    def _in_memory(
        self, execution: Execution, task: WorkflowTaskState, started: StartedTask, session: Session
    ) -> list[ev.AnyEvent]:
        """The events of a started task that are written only when it ends."""
        events: list[ev.AnyEvent] = []
        state = execution.state
        if not task.scheduled_event_id:
            events.append(
                ev.WorkflowTaskScheduled(
                    event_id=started.scheduled_event_id,
                    event_time=max(task.scheduled_at, state.last_event_time),
                    task_queue=state.started.task_queue,
                    attempt=task.attempt,
                )
            )
        events.append(
            ev.WorkflowTaskStarted(
                event_id=started.started_event_id,
                event_time=started.started_at,
                scheduled_event_id=started.scheduled_event_id,
                identity=session.worker.identity,
                suggest_continue_as_new=suggests_continue_as_new(state, self._engine.limits),
                history_size_bytes=state.history_bytes,
            )
        )
        return events

    def _watch(self, execution: Execution, started: StartedTask) -> None:
        """The worker has so long to answer."""
        at = started.started_at + execution.state.started.workflow_task_timeout
        late = req.TimeOutWorkflowTask(started_event_id=started.started_event_id)
        execution.add_deadline(Deadline(at, late))
        self._engine.timers.arm(execution)

    def _give_back(self, token: str) -> None:
        parsed = _known(token)
        if isinstance(parsed, QueryToken):
            self._queries.give_back(parsed)
            return
        execution = self._execution(parsed) if parsed is not None else None
        if execution is None or parsed is None:
            return
        if isinstance(parsed, WorkflowToken):
            execution.sticky_session = ""
            self._engine.transact(execution, req.ReturnWorkflowTask(**on_task(parsed)))
        else:
            self._engine.transact(execution, req.ReturnActivity(**on_activity(parsed)))

    def _execution(self, token: ActivityToken | WorkflowToken | QueryToken) -> Execution | None:
        execution = self._engine.residents.by_run.get(token.run_id)
        return None if execution is None or execution.is_lost or not execution.state.is_open else execution

    def _confirm(self, execution: Execution, token: ActivityToken, session: Session) -> None:
        execution.confirmed.add((token.scheduled_event_id, token.attempt, token.stamp))
        identity = session.worker.identity
        request = req.StartActivity(**on_activity(token), identity=identity, session=session.id, held=True)
        self._engine.transact(execution, request)

    def _reclaim(self, execution: Execution, token: WorkflowToken, session: Session) -> None:
        self._engine.transact(execution, req.ReclaimWorkflowTask(**on_task(token), session=session.id))
        task = execution.state.workflow_task
        if task is not None and task.started is not None:
            self._watch(execution, task.started)

    def _write_rows(self) -> None:
        """Attempts that have run for a second are kept: a restart must not run them twice."""
        self._sweep = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._unwritten and self._unwritten[0][0] <= now:
            _, token = self._unwritten.popleft()
            execution = self._execution(token)
            activity = execution.state.activities.get(token.scheduled_event_id) if execution else None
            if execution is None or activity is None or activity.attempt != token.attempt or activity.closing:
                continue
            if activity.started_at != activity.row_started_at:
                self._engine.committer.make_room()
                self._engine.transactor.write_row(execution, token.scheduled_event_id)
        if self._unwritten:
            self._sweep = loop.call_at(self._unwritten[0][0] + _ROW_SWEEP_SECONDS, self._write_rows)


def activity_task(execution: Execution, activity: ActivityState) -> ActivityTask:
    """One attempt, as a worker gets it."""
    scheduled = activity.scheduled
    assert activity.started_at is not None
    token = ActivityToken(*_key(execution), scheduled.event_id, activity.attempt, activity.started_at, activity.stamp)
    started = execution.state.started
    is_standalone = bool(started.standalone_activity_id)
    return ActivityTask(
        token=str(token),
        workflow_id="" if is_standalone else execution.workflow_id,
        run_id=execution.run_id,
        workflow_type="" if is_standalone else started.workflow_type,
        activity_id=scheduled.activity_id,
        activity_type=scheduled.activity_type,
        input=scheduled.input,
        kwargs=scheduled.kwargs,
        encoding=scheduled.encoding,
        attempt=activity.attempt,
        scheduled_time=scheduled.event_time,
        current_attempt_scheduled_time=activity.attempt_scheduled_at or scheduled.event_time,
        started_time=activity.started_at,
        schedule_to_close_timeout=scheduled.schedule_to_close_timeout,
        start_to_close_timeout=scheduled.start_to_close_timeout,
        heartbeat_timeout=scheduled.heartbeat_timeout,
        heartbeat_details=activity.heartbeat_details,
        heartbeat_encoding=activity.heartbeat_encoding,
        retry_policy=scheduled.retry_policy,
        priority=merged_priority(scheduled.priority, execution.state.started.priority),
        header=scheduled.header,
    )


def on_task(token: WorkflowToken) -> dict[str, Any]:
    """A workflow token as the fields of a request."""
    return {
        "scheduled_event_id": token.scheduled_event_id,
        "started_event_id": token.started_event_id,
        "attempt": token.attempt,
        "started_at": token.started_at,
    }


def on_activity(token: ActivityToken) -> dict[str, Any]:
    """An activity token as the fields of a request."""
    return {
        "scheduled_event_id": token.scheduled_event_id,
        "attempt": token.attempt,
        "started_at": token.started_at,
        "stamp": token.stamp,
    }


def _token(execution: Execution, task: WorkflowTaskState, started: StartedTask) -> WorkflowToken:
    return WorkflowToken(
        *_key(execution), started.scheduled_event_id, started.started_event_id, task.attempt, started.started_at
    )


def _known(token: str) -> ActivityToken | WorkflowToken | QueryToken | None:
    try:
        return parse(token)
    except ServiceError:
        return None


def _key(execution: Execution) -> tuple[int, str]:
    return execution.key.shard_id, execution.key.run_id
