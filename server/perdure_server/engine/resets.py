"""Resets: a new run with the history of another up to a point, in the place of whatever run is current.

The copy is made in pages, beside the commits, into a run that nobody sees. The switch is one transition: the current
run is terminated and the new one claims the workflow id in the same batch, and if either does not land, neither does.

Law: no message is lost between the copy and the switch. What came after the point is collected up to the last event of
the current run; the switch is made only when nothing of that run is staged or unread, and takes what is buffered too.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from perdure_proto import events as ev
from perdure_proto import service as svc
from perdure_proto.codec import decode_events, encode_events, encoder
from perdure_proto.errors import Code, ServiceError
from perdure_server.engine.checks import check_id
from perdure_server.engine.execution import Execution
from perdure_server.engine.inbox import source_of
from perdure_server.engine.log_reader import event_at, pages
from perdure_server.engine.messages_after import MessagesAfter
from perdure_server.engine.rebuild import size_of
from perdure_server.history import requests as req
from perdure_server.history.deadlines import deadlines_of
from perdure_server.history.decide import decide
from perdure_server.history.decision import Decision, Moment
from perdure_server.history.evolve import begin, evolve
from perdure_server.history.state import ExecutionState
from perdure_server.store.port import HistoryRow, RunKey, RunStart

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

_TRIES_MAX = 20
_POINTS = "event_id (of a WorkflowTaskCompleted), point (first or last) or activity_id"


class Copy(Struct):
    """A run that nobody sees yet, and the state that its log makes."""

    key: RunKey
    state: ExecutionState


class Resets:
    """Takes workflows back."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._under_way: dict[tuple[str, str, str], asyncio.Task[svc.ResetWorkflowAnswer]] = {}

    async def reset(
        self, namespace: str, workflow_id: str, request: svc.ResetWorkflowRequest
    ) -> svc.ResetWorkflowAnswer:
        """Begins a new run at an earlier point; a repeat by request id gets the first answer."""
        if request.request_id:
            check_id("request_id", request.request_id, self._engine.limits)
        if (request.event_id > 0) + bool(request.point) + bool(request.activity_id) != 1:
            raise ServiceError(Code.INVALID_ARGUMENT, f"say where to go back to: one of {_POINTS}")
        if not request.request_id:
            return await self._reset(namespace, workflow_id, request)
        # A repeat that comes while the first is under way would find no run of that request id yet.
        key = namespace, workflow_id, request.request_id
        if key not in self._under_way:
            self._under_way[key] = asyncio.create_task(self._reset(namespace, workflow_id, request))
            self._under_way[key].add_done_callback(partial(self._ended, key))
        return await asyncio.shield(self._under_way[key])

    def stop(self) -> None:
        """Whoever asked has gone, or asks elsewhere."""
        for task in self._under_way.values():
            task.cancel()

    def _ended(self, key: tuple[str, str, str], task: asyncio.Task[svc.ResetWorkflowAnswer]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # told to those who wait, if anybody does

    async def _reset(
        self, namespace: str, workflow_id: str, request: svc.ResetWorkflowRequest
    ) -> svc.ResetWorkflowAnswer:
        base = await self._engine.residents.find(namespace, workflow_id, request.run_id)
        known = await self.known(base, request.request_id)
        if known:
            return svc.ResetWorkflowAnswer(run_id=known, reset=False)
        await self._engine.settled(base)
        until = await self._point(base, request)
        await base.landed()  # the point may be newer than what was settled, and the copy is made from the log
        copy = await self._copy(base, until)
        messages = MessagesAfter(self._engine, base, until, frozenset(request.reapply_exclude))
        execution = await self._switch(base, copy, messages, request)
        await execution.landed()
        for news in await self._closed_children(base, execution.state):  # those that ended at the very switch
            if execution.state.is_open and not execution.is_lost:
                self._engine.transact(execution, news)
        return svc.ResetWorkflowAnswer(run_id=execution.run_id)

    async def known(self, base: Execution, request_id: str) -> str:
        """The run that a reset of this request id began; empty: none did."""
        if not request_id:
            return ""
        find = self._engine.store.execution_by_request
        row = await find(base.namespace_id, base.workflow_id, _request_key(request_id))
        return "" if row is None else row.run_id

    async def _point(self, base: Execution, request: svc.ResetWorkflowRequest) -> int:
        """The WorkflowTaskStarted with which the copy ends."""
        if request.event_id:
            event = await event_at(self._engine, base, request.event_id)
            if not isinstance(event, ev.WorkflowTaskCompleted):
                what = "is not there" if event is None else f"is {event.event_type}"
                message = f"event {request.event_id} {what}: choose a WorkflowTaskCompleted"
                raise ServiceError(Code.INVALID_ARGUMENT, message)
            return event.started_event_id
        if request.activity_id:
            return await self._before_activity(base, request.activity_id)
        until = await self._first_task(base) if request.point == "first" else base.state.previous_started_event_id
        if not until:
            raise ServiceError(Code.INVALID_ARGUMENT, f"run {base.run_id} has not completed a workflow task yet")
        return until

    async def _first_task(self, base: Execution) -> int:
        async for events in pages(self._engine, base, 0):
            for event in events:
                if isinstance(event, ev.WorkflowTaskCompleted):
                    return event.started_event_id
        return 0

    async def _before_activity(self, base: Execution, activity_id: str) -> int:
        found = 0
        async for events in pages(self._engine, base, 0):
            for event in events:
                if isinstance(event, ev.ActivityTaskScheduled) and event.activity_id == activity_id:
                    found = event.workflow_task_completed_event_id - 1
        if not found:
            message = f"run {base.run_id} has scheduled no activity {activity_id!r}; `workflow show` lists them"
            raise ServiceError(Code.ACTIVITY_NOT_FOUND, message)
        return found

    async def _copy(self, base: Execution, until: int) -> Copy:
        """The history up to an event under a new run id, and the state that it makes."""
        store, rows_max = self._engine.store, self._engine.settings.history_page_rows
        key = RunKey(base.key.shard_id, self._engine.new_run_id())
        await store.begin_copy(key.shard_id, base.run_id, key.run_id)
        _, last = await store.copy_history(
            key.shard_id, base.run_id, key.run_id, until_event_id=until, rows_max=rows_max
        )
        if last < until:
            (row,) = await store.history(key.shard_id, base.run_id, last, 1)
            kept = [event for event in decode_events(row.events) if last < event.event_id <= until]
            cut = HistoryRow(kept[0].event_id, kept[-1].event_id, encode_events(kept))
            await store.put_history(key.shard_id, key.run_id, cut)
        return Copy(key, await self._state(key, until))

    async def _state(self, key: RunKey, until: int) -> ExecutionState:
        """Read from the copy itself: what is not there is not believed."""
        state: ExecutionState | None = None
        after, rows_max = 0, self._engine.settings.history_page_rows
        while after < until:
            rows = await self._engine.store.history(key.shard_id, key.run_id, after, rows_max)
            if not rows:
                raise ServiceError(Code.UNAVAILABLE, "the copy of the history is not complete: try again")
            for row in rows:
                for event in decode_events(row.events):
                    if state is None:
                        assert isinstance(event, ev.WorkflowExecutionStarted), "a history begins with its start"
                        state = begin(key.run_id, event)
                    else:
                        evolve(state, event)
                assert state is not None, "a row has events"
                state.history_bytes += size_of(row.events)
            after = rows[-1].last_event_id
        assert state is not None, "a point is after the first event"
        return state

    async def _switch(
        self, base: Execution, copy: Copy, messages: MessagesAfter, request: svc.ResetWorkflowRequest
    ) -> Execution:
        """Waits for a moment at which all that came is known, and begins the new run in it.

        Law: a transactional activity is closed only behind its seal, and the termination must not be held until then.
        """
        residents, outcomes, end = self._engine.residents, self._engine.outcomes, req.TerminateExecution()
        for _ in range(_TRIES_MAX):
            current = await residents.find(base.namespace, base.workflow_id)
            try:
                await outcomes.clear(current, end)
                await current.landed()
                await messages.read()
                closed = await self._closed_children(base, copy.state)
                is_current = residents.current.get(current.workflow) is current and not current.is_lost
                is_still = current.batch is None and outcomes.is_clear(current, end)
                if is_current and is_still and messages.are_complete(current):
                    return self._begin(current, base, copy, messages, (closed, request))
            finally:
                await outcomes.leave(current)
        raise ServiceError(Code.UNAVAILABLE, "messages come faster than they are read: pause the workflow, try again")

    def _begin(
        self,
        current: Execution,
        base: Execution,
        copy: Copy,
        messages: MessagesAfter,
        wanted: tuple[tuple[req.RecordChildClosed, ...], svc.ResetWorkflowRequest],
    ) -> Execution:
        """The switch, in one turn of the loop and one batch.

        Children that were started before the point belong to the new run, for their Initiated events are in its copy;
        whoever has news for `base` finds the new run by `store.reset_run`. Those started after it are closed by their
        policy as `current` takes its leave, and the first task waits for that.
        """
        engine, (closed_children, request) = self._engine, wanted
        now = engine.now()
        ask = req.ResetExecution(
            base_run_id=base.run_id,
            replaced_run_id=current.run_id,
            reason=request.reason,
            identity=request.identity,
            events=messages.to_tell(current),
            closed_children=closed_children,
        )
        decision = decide(copy.state, ask, Moment(now, engine.limits))
        if decision.refused is not None:
            raise decision.refused
        following = Execution(copy.key, current.workflow, current.namespace_id, copy.state)
        if current.state.is_open:
            end = self._end(current, base, following, request)
            engine.transactor.transact(current, structs.replace(end, reset_event_id=messages.shared_until(current)))
        engine.successions.follow(following, current)
        engine.residents.add(following, is_current=True)
        self._stage(following, current, _request_key(request.request_id), decision)
        return following

    def _end(
        self, current: Execution, base: Execution, following: Execution, request: svc.ResetWorkflowRequest
    ) -> req.TerminateExecution:
        """The termination of the current run. One of another chain truly ends, and takes its leave of all."""
        chain = [run.state.started.first_execution_run_id for run in (current, base)]
        return req.TerminateExecution(
            reason=_reason(request),
            identity=request.identity,
            reset_run_id=following.run_id if chain[0] == chain[1] else "",
        )

    async def _closed_children(self, base: Execution, state: ExecutionState) -> tuple[req.RecordChildClosed, ...]:
        """The ends of children that no log of theirs tells, for the run that was their parent was closed before."""
        base = await self._engine.residents.find_run(base.key.shard_id, base.run_id) or base  # it may have left memory
        if base.state.is_open:
            return ()
        found: list[req.RecordChildClosed] = []
        source = source_of(base)
        for event_id, child in state.children.items():
            execution = await self._child(child.initiated.namespace or base.namespace, child.initiated.workflow_id)
            if execution is None:
                continue  # it never began, or retention removed it
            started, closed = execution.state.started, execution.state.closed
            begun_by = started.parent_run_id, started.parent_initiated_event_id
            is_ours = begun_by == (source.origin(event_id), event_id)
            if closed is None or not is_ours or (child.run_id and started.first_execution_run_id != child.run_id):
                continue
            first_run_id = started.first_execution_run_id
            found.append(
                req.RecordChildClosed(
                    initiated_event_id=event_id, run_id=execution.run_id, first_run_id=first_run_id, closed=closed
                )
            )
        return tuple(found)

    async def _child(self, namespace: str, workflow_id: str) -> Execution | None:
        """A child as it is; one that is another server's as it is in the log, where its end is before it is told."""
        try:
            return await self._engine.residents.find(namespace, workflow_id)
        except ServiceError as error:
            is_elsewhere = error.code is Code.WRONG_OWNER
            return await self._engine.residents.glance(namespace, workflow_id) if is_elsewhere else None

    def _stage(self, following: Execution, current: Execution, request_key: str, decision: Decision) -> None:
        """Law: nothing may come between the end of the one and the start of the other, or a batch might end there."""
        engine, started = self._engine, following.state.started
        staged = engine.transactor.stage(following)
        staged.start = RunStart(
            shard_id=following.key.shard_id,
            run_id=following.run_id,
            namespace_id=following.namespace_id,
            workflow_id=following.workflow_id,
            replaces=current.run_id,
            workflow_type=started.workflow_type,
            task_queue=started.task_queue,
            start_time=decision.events[0].event_time,
            request_id=request_key,
            first_run_id=started.first_execution_run_id,
            memo=encoder.encode(started.memo) if started.memo else None,
            search_attributes=encoder.encode(started.search_attributes) if started.search_attributes else None,
        )
        engine.transactor.apply(following, decision)
        for deadline in deadlines_of(following.state):
            following.add_deadline(deadline)
        engine.arm(following)


def _request_key(request_id: str) -> str:
    """Resets among the requests that begin runs: it must not be taken for a start's."""
    return f"reset {request_id}" if request_id else ""


def _reason(request: svc.ResetWorkflowRequest) -> str:
    return f"reset: {request.reason}" if request.reason else "reset"
