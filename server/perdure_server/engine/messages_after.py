"""The signals and updates that came after a point, along the chain of runs: what a reset tells again. So it does with
what became of children and messages to others that were begun before the point.

It goes on from a run to the one that it continued as, or that it was reset to. What such a run has at its head, before
its first workflow task, is repeated from the run before, and is left out.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Literal

from perdure_proto import events as ev
from perdure_server.engine.execution import Execution
from perdure_server.engine.log_reader import pages
from perdure_server.history.kinds import ANSWERS_CHILD_START, ANSWERS_MESSAGE, CLOSES_CHILD

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

_RUNS_MAX = 1_000

Excluded = Literal["signal", "update"]

_ANSWERS = (*ANSWERS_CHILD_START, *CLOSES_CHILD, *ANSWERS_MESSAGE)


class MessagesAfter:
    """Reads as far as the log goes; reads on when asked again."""

    def __init__(self, engine: Engine, base: Execution, after: int, exclude: AbstractSet[Excluded]) -> None:
        self._engine = engine
        self._run = base
        self._after = after
        self._begun_until = after
        """Initiated events up to here are in the copy, and mean the same in the run that is read."""
        self._exclude = exclude
        self._at_head = False
        self._runs = {base.run_id}
        self._told: list[ev.AnyEvent] = []
        self._update_ids: set[str] = set()

    async def read(self) -> None:
        """All that is in the log by now, of this run and those that followed."""
        while True:
            # It may have left memory since, and have been loaded again: only what is in memory knows how it goes on.
            self._run = await self._engine.residents.find_run(self._run.key.shard_id, self._run.run_id) or self._run
            async for events in pages(self._engine, self._run, self._after):
                for event in events:
                    self._after = event.event_id
                    self._take(event)
            following = await self._following()
            if following is None:
                return
            if following.state.origins:
                self._begun_until = min(self._begun_until, following.state.origins[-1][0])
            self._run, self._after, self._at_head = following, 0, True
            self._runs.add(following.run_id)

    def are_complete(self, current: Execution) -> bool:
        """Whether nothing came to the current run that was not read. Another chain's run has none of ours."""
        return not self._is(current) or self._after >= current.state.last_event_id

    def shared_until(self, current: Execution) -> int:
        """Up to which event the current run and the copy have begun the same children and messages; 0: none."""
        return self._begun_until if self._is(current) else 0

    def to_tell(self, current: Execution) -> tuple[ev.AnyEvent, ...]:
        """In order, with what waits in the buffer of the current run for the end of its task."""
        if self._is(current):
            for event in current.state.buffer:
                self._take(event)
        return tuple(self._told)

    def _is(self, current: Execution) -> bool:
        """Whether that is the run which is read: the same run is another object each time that it is loaded."""
        return self._run.run_id == current.run_id

    async def _following(self) -> Execution | None:
        closed = self._run.state.closed
        if closed is None or len(self._runs) >= _RUNS_MAX:
            return None
        shard_id, run_id = self._run.key.shard_id, getattr(closed, "new_execution_run_id", "")
        if run_id:
            self._begun_until = 0
        else:
            run_id = await self._engine.store.reset_run(shard_id, self._run.run_id)
        if not run_id or run_id in self._runs:
            return None
        return await self._engine.residents.find_run(shard_id, run_id)

    def _take(self, event: ev.AnyEvent) -> None:
        if self._at_head:
            self._at_head = not self._is_first_task(event)
        elif isinstance(event, ev.WorkflowExecutionSignaled):
            if "signal" not in self._exclude:
                self._told.append(event)
        elif isinstance(event, _ANSWERS):
            if event.initiated_event_id <= self._begun_until:
                self._told.append(event)
        elif isinstance(event, ev.WorkflowExecutionUpdateAccepted | ev.WorkflowExecutionUpdateAdmitted):
            self._take_update(event)

    def _is_first_task(self, event: ev.AnyEvent) -> bool:
        """The first that is of this run alone: of one that was reset, that which follows the reset."""
        reset_at = self._run.state.reset_at
        return isinstance(event, ev.WorkflowTaskScheduled) and (reset_at is None or event.event_time >= reset_at)

    def _take_update(self, event: ev.WorkflowExecutionUpdateAccepted | ev.WorkflowExecutionUpdateAdmitted) -> None:
        if "update" in self._exclude or event.update_id in self._update_ids:
            return
        self._update_ids.add(event.update_id)
        admitted = ev.WorkflowExecutionUpdateAdmitted(
            event_id=0,
            event_time=event.event_time,
            update_id=event.update_id,
            update_name=event.update_name,
            input=event.input,
            kwargs=event.kwargs,
            encoding=event.encoding,
            identity=event.identity,
            header=event.header,
        )
        self._told.append(admitted)
