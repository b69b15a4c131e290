"""Queries: read-only questions that a worker answers. They see all that was acknowledged before, and write nothing.

A query waits until no workflow task is due: the state after the last completed task is then all there is.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Raw, Struct

from perdure_proto.codec import join_arrays
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import QueryWorkflowAnswer, QueryWorkflowRequest
from perdure_proto.tasks import AnyTask, QueryDelivery, QueryResult, QueryTask
from perdure_server.engine.checks import check_header
from perdure_server.engine.execution import Execution
from perdure_server.engine.tokens import QueryToken
from perdure_server.matching.port import Session, TaskRef

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine
    from perdure_server.engine.handout import Handout


_NUMBER_BITS = 48


class Pending(Struct):
    """A query that a client waits for."""

    execution: Execution
    delivery: QueryDelivery
    answered: asyncio.Future[QueryResult]


class Queries:
    """Asks workers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pending: dict[int, Pending] = {}
        # Not from 1: the answer to a query of a former owner must not be taken for one of ours.
        self._number = secrets.randbits(_NUMBER_BITS)
        self.handout: Handout

    async def query(
        self, namespace: str, workflow_id: str, name: str, request: QueryWorkflowRequest
    ) -> QueryWorkflowAnswer:
        """Asks the workflow. Raises `QUERY_FAILED`, or `QUERY_TIMED_OUT` when no worker answers in time."""
        check_header(request.header, self._engine.limits)
        execution = await self._engine.residents.find(namespace, workflow_id, request.run_id)
        self._number += 1
        number = self._number
        delivery = QueryDelivery(
            query_id=str(number),
            query_name=name,
            input=request.input,
            kwargs=request.kwargs,
            encoding=request.encoding,
            header=request.header,
        )
        pending = Pending(execution, delivery, asyncio.get_running_loop().create_future())
        self._pending[number] = pending
        timeout = min(request.timeout, self._engine.limits.query_timeout_max).total_seconds()
        try:
            async with asyncio.timeout(timeout):
                await self._when_idle(execution)
                self._offer(number, pending)
                result = await pending.answered
        except TimeoutError:
            raise ServiceError(Code.QUERY_TIMED_OUT, self._why(execution, timeout)) from None
        finally:
            del self._pending[number]
            if pending.answered.done() and not pending.answered.cancelled():
                pending.answered.exception()  # seen: who waited may have been told already
        if result.failure is not None:
            raise ServiceError(Code.QUERY_FAILED, result.failure.message, failure=result.failure)
        return QueryWorkflowAnswer(result=result.result, encoding=result.encoding)

    async def take(self, ref: TaskRef, session: Session) -> AnyTask | None:
        """The task of a query that is still wanted."""
        number = ref.scheduled_event_id
        pending = self._pending.get(number)
        if pending is None or pending.answered.done():
            return None
        execution = pending.execution
        sticky = bool(ref.sticky_session) and execution.sticky_session == session.id == ref.sticky_session
        events = execution.events_since(execution.state.previous_started_event_id) if sticky else None
        history_from = execution.state.previous_started_event_id + 1
        if events is None:
            events = await self.handout.whole_history(execution)
            history_from = 1
        return QueryTask(
            token=str(QueryToken(execution.key.shard_id, execution.run_id, number)),
            workflow_id=execution.workflow_id,
            run_id=execution.run_id,
            workflow_type=execution.state.started.workflow_type,
            events=Raw(join_arrays(events)),
            history_from=history_from,
            last_event_id=execution.state.last_event_id,
            queries=(pending.delivery,),
        )

    def answer(self, token: QueryToken, results: Sequence[QueryResult], session: Session) -> bool:
        """A worker's answer; False when nobody waits for it."""
        pending = self._pending.get(token.number)
        for result in results:
            if pending is not None and result.query_id == str(token.number) and not pending.answered.done():
                pending.answered.set_result(result)
                return True
        return False

    def end(self, execution: Execution, error: ServiceError) -> None:
        """The run is another server's now: who waits asks there."""
        for pending in self._pending.values():
            if pending.execution is execution and not pending.answered.done():
                pending.answered.set_exception(error)

    def give_back(self, token: QueryToken) -> None:
        """The worker is gone: another is asked."""
        pending = self._pending.get(token.number)
        if pending is not None and not pending.answered.done():
            pending.execution.sticky_session = ""
            self._offer(token.number, pending)

    async def _when_idle(self, execution: Execution) -> None:
        """Law: a query sees all that was acknowledged before, so the task that brings it goes first."""
        await self._engine.settled(execution)
        while execution.state.is_open and not execution.is_lost:
            task = execution.state.workflow_task
            paused = execution.state.is_paused and (task is None or task.started is None)
            if execution.state.previous_started_event_id and (task is None or task.kind == "transient" or paused):
                return
            if paused:
                raise ServiceError(Code.WORKFLOW_PAUSED, "the run is paused and has not begun: there is nothing to see")
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            execution.event_waiters.append(waiter)
            await waiter
            await execution.landed()
        if execution.is_lost:
            raise self._engine.refusal(execution)

    def _offer(self, number: int, pending: Pending) -> None:
        execution = pending.execution
        ref = TaskRef(
            kind="query",
            namespace=execution.namespace,
            task_queue=execution.state.started.task_queue,
            shard_id=execution.key.shard_id,
            run_id=execution.run_id,
            scheduled_event_id=number,
            attempt=1,
            type_name=execution.state.started.workflow_type,
            priority_key=1,
            sticky_session=execution.sticky_session,
        )
        if not self._engine.matching.offer(ref):
            raise ServiceError(Code.RESOURCE_EXHAUSTED, "too many tasks wait in the queue of this workflow")

    def _why(self, execution: Execution, timeout: float) -> str:
        started = execution.state.started
        knows = self._engine.matching.knows(execution.namespace, started.task_queue, "workflow", started.workflow_type)
        if not knows:
            return f"no worker on task queue {started.task_queue!r} knows workflow type {started.workflow_type!r}"
        return f"no worker answered within {timeout:g} s"
