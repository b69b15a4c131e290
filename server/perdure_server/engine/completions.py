"""What workers answer: each completion becomes a request to the core; one table says which.

All completions of a respond are staged first and then awaited together, so that a batch of answers is one commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure_proto import commands as cmd
from perdure_proto import tasks
from perdure_proto.codec import decode_events
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import WorkflowExecutionSignaled
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_server.engine.eager import commands_of, opens_run, refused, result_of, take_eagerly
from perdure_server.engine.execution import Execution, Held
from perdure_server.engine.handout import on_activity, on_task
from perdure_server.engine.tokens import ActivityToken, AnyToken, QueryToken, WorkflowToken, parse
from perdure_server.history import requests as req
from perdure_server.history.decision import Decision
from perdure_server.matching.port import Session
from perdure_server.store.port import StoreUnavailableError

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine
    from perdure_server.engine.queries import Queries


Result: TypeAlias = tasks.CompletionResult | Held
"""What became of a completion, or that it is known later."""

AT_ONCE_MAX = 16
"""So many completions are taken in one turn of the loop: what is staged begins to commit, and others get theirs."""


class Completions:
    """Takes the answers of workers."""

    def __init__(self, engine: Engine, queries: Queries) -> None:
        self._engine = engine
        self._queries = queries
        self._table: dict[type[tasks.Completion], Callable[[Any, Any, Session], Awaitable[Result]]] = {
            tasks.WorkflowTaskCompletion: self._workflow_completed,
            tasks.WorkflowTaskFailure: self._workflow_failed,
            tasks.QueryTaskCompletion: self._query_completed,
            tasks.ActivityTaskCompletion: self._activity_completed,
            tasks.ActivityTaskFailure: self._activity_failed,
            tasks.ActivityTaskCancellation: self._activity_cancelled,
            tasks.ActivityTaskDetached: self._activity_detached,
            tasks.ActivityHeartbeat: self._heartbeat,
            tasks.ActivityTransaction: self._begin_transaction,
            tasks.TaskReturned: self._returned,
        }

    async def complete(
        self, namespace: str, session: Session, completions: Sequence[tasks.AnyCompletion]
    ) -> list[tasks.CompletionResult]:
        """One result for each, in order, once all are durable."""
        touched: dict[str, Execution] = {}
        told: list[Result] = []
        for number, each in enumerate(completions, 1):
            told.append(await self._one(namespace, session, each, touched))
            if number % AT_ONCE_MAX == 0:
                await asyncio.sleep(0)
        results = [result_of(await asyncio.shield(r.later)) if isinstance(r, Held) else r for r in told]
        failed: dict[str, ServiceError] = {}
        barrier = self._engine.committer.barrier()  # one for all: what they staged is in the same batch or before it
        for run_id, execution in touched.items():
            try:
                await self._engine.acknowledged(execution, barrier)
            except ServiceError as error:
                failed[run_id] = error
        if failed:
            for index, completion in enumerate(completions):
                reason = failed.get(_run_of(completion.token))
                if reason is not None and results[index].code is None:
                    results[index] = refused(reason)
        return results

    async def _one(
        self, namespace: str, session: Session, completion: tasks.AnyCompletion, touched: dict[str, Execution]
    ) -> Result:
        try:
            token = parse(completion.token)
            if isinstance(completion, tasks.QueryTaskCompletion):
                return await self._table[type(completion)](token, completion, session)
            execution = self._engine.residents.by_run.get(token.run_id)
            if execution is None and self._engine.residents.has_shard(token.shard_id):
                execution = await self._engine.residents.find_run(token.shard_id, token.run_id)
            if execution is None or execution.queue_namespace != namespace:
                raise ServiceError(Code.TASK_NOT_FOUND, f"the run of task {completion.token!r} does not exist")
            touched[execution.run_id] = execution
            return await self._table[type(completion)]((execution, token), completion, session)
        except ServiceError as error:
            return refused(error)
        except StoreUnavailableError as error:  # the worker keeps all of them, and sends them again
            raise ServiceError(Code.UNAVAILABLE, f"the database cannot be reached: {error}") from error

    async def _workflow_completed(
        self, at: tuple[Execution, AnyToken], completion: tasks.WorkflowTaskCompletion, session: Session
    ) -> Result:
        execution, token = at
        commands = commands_of(completion.commands)
        opens = opens_run(execution, commands)
        signals = await self._unclaimed(execution, commands) if opens else ()
        execution.sticky_session = session.id if completion.cached else ""
        request = req.CompleteWorkflowTask(
            **on_task(_workflow(token)),
            identity=session.worker.identity,
            build_id=session.worker.build_id,
            commands=commands,
            current_details=completion.current_details,
            force_new_task=completion.force_new_task,
            new_run_id=self._engine.new_run_id() if opens else "",
            signals=signals,
        )
        decision = self._engine.transact(execution, request)
        if decision.refused is not None:
            execution.sticky_session = ""
        return _result(decision)

    async def _workflow_failed(
        self, at: tuple[Execution, AnyToken], completion: tasks.WorkflowTaskFailure, session: Session
    ) -> tasks.CompletionResult:
        execution, token = at
        execution.sticky_session = ""
        execution.tried_builds.add(session.worker.build_id)
        self._engine.backing_off.add(execution.run_id)
        request = req.FailWorkflowTask(
            **on_task(_workflow(token)),
            identity=session.worker.identity,
            build_id=session.worker.build_id,
            cause=completion.cause,
            failure=completion.failure,
        )
        return result_of(self._engine.transact(execution, request))

    async def _query_completed(
        self, token: AnyToken, completion: tasks.QueryTaskCompletion, session: Session
    ) -> tasks.CompletionResult:
        if not isinstance(token, QueryToken) or not self._queries.answer(token, completion.results, session):
            raise ServiceError(Code.TASK_NOT_FOUND, "nobody waits for the answer to this query any more")
        return tasks.CompletionResult()

    async def _activity_completed(
        self, at: tuple[Execution, AnyToken], completion: tasks.ActivityTaskCompletion, session: Session
    ) -> Result:
        execution, token = at
        size = len(bytes(completion.result))
        if size > self._engine.limits.payload_bytes_max and not completion.recorded:
            failure = _too_large(size, self._engine.limits.payload_bytes_max)
            return await self._activity_failed(at, tasks.ActivityTaskFailure(token="", failure=failure), session)
        fields = self._attempt(token, session)
        request = req.CompleteActivity(
            **fields, result=completion.result, encoding=completion.encoding, recorded=completion.recorded
        )
        if completion.turn is None:
            return _result(self._engine.transact(execution, request))
        if execution.transactional and not completion.recorded:
            execution.sticky_session = ""
            return _result(self._engine.transact(execution, request))
        return take_eagerly(self._engine, execution, request, completion.turn, session.worker.build_id)

    async def _activity_failed(
        self, at: tuple[Execution, AnyToken], completion: tasks.ActivityTaskFailure, session: Session
    ) -> Result:
        execution, token = at
        request = req.FailActivity(**self._attempt(token, session), failure=completion.failure)
        return _result(self._engine.transact(execution, request))

    async def _activity_cancelled(
        self, at: tuple[Execution, AnyToken], completion: tasks.ActivityTaskCancellation, session: Session
    ) -> Result:
        execution, token = at
        fields = self._attempt(token, session)
        request = req.AcknowledgeCancel(**fields, details=completion.details, encoding=completion.encoding)
        return _result(self._engine.transact(execution, request))

    async def _activity_detached(
        self, at: tuple[Execution, AnyToken], completion: tasks.ActivityTaskDetached, session: Session
    ) -> tasks.CompletionResult:
        execution, token = at
        return result_of(self._engine.transact(execution, req.DetachActivity(**self._attempt(token, session))))

    async def _heartbeat(
        self, at: tuple[Execution, AnyToken], completion: tasks.ActivityHeartbeat, session: Session
    ) -> tasks.CompletionResult:
        execution, token = at
        fields = self._attempt(token, session)
        request = req.HeartbeatActivity(**fields, details=completion.details, encoding=completion.encoding)
        decision = self._engine.transact(execution, request)
        result = result_of(decision)
        return result if result.code else tasks.CompletionResult(cancel_requested=bool(decision.answer))

    async def _begin_transaction(
        self, at: tuple[Execution, AnyToken], completion: tasks.ActivityTransaction, session: Session
    ) -> tasks.CompletionResult:
        execution, token = at
        request = req.BeginTransaction(**self._attempt(token, session))
        result = result_of(await self._engine.outcomes.begin(execution, request))
        return result if result.code else tasks.CompletionResult(place=self._place(execution, _activity(token)))

    def _place(self, execution: Execution, token: ActivityToken) -> tasks.OutcomePlace:
        return tasks.OutcomePlace(
            group_id=self._engine.committer.fence.group_id,
            shard_id=execution.key.shard_id,
            run_id=execution.run_id,
            scheduled_event_id=token.scheduled_event_id,
            attempt=token.attempt,
            started_at=token.started_at,
            result_bytes_max=self._engine.limits.payload_bytes_max,
        )

    async def _returned(
        self, at: tuple[Execution, AnyToken], completion: tasks.TaskReturned, session: Session
    ) -> Result:
        execution, token = at
        if isinstance(token, WorkflowToken):
            execution.sticky_session = ""
            return result_of(self._engine.transact(execution, req.ReturnWorkflowTask(**on_task(token))))
        return _result(self._engine.transact(execution, req.ReturnActivity(**on_activity(_activity(token)))))

    def _attempt(self, token: AnyToken, session: Session) -> dict[str, Any]:
        fields: dict[str, Any] = on_activity(_activity(token))
        return {**fields, "identity": session.worker.identity, "session": session.id}

    async def _unclaimed(
        self, execution: Execution, commands: list[cmd.AnyCommand]
    ) -> tuple[WorkflowExecutionSignaled, ...]:
        """The signals that nobody took, read from the log: they are recorded again in the next run."""
        wanted: list[int] = []
        for command in commands:
            if isinstance(command, cmd.ContinueAsNewWorkflowExecution):
                wanted.extend(command.unclaimed_signals)
        if not wanted:
            return ()
        await execution.landed()
        found: dict[int, WorkflowExecutionSignaled] = {}
        after = min(wanted) - 1
        while after < max(wanted):
            page = await self._engine.store.history(
                execution.key.shard_id, execution.run_id, after, self._engine.settings.history_page_rows
            )
            if not page:
                break
            for row in page:
                signals = [e for e in decode_events(row.events) if isinstance(e, WorkflowExecutionSignaled)]
                found.update({signal.event_id: signal for signal in signals})
            after = page[-1].last_event_id
        return tuple(found[event_id] for event_id in wanted if event_id in found)


def _result(decision: Decision) -> Result:
    return decision if isinstance(decision, Held) else result_of(decision)


def _workflow(token: AnyToken) -> WorkflowToken:
    if not isinstance(token, WorkflowToken):
        raise ServiceError(Code.TASK_NOT_FOUND, "this is not the token of a workflow task")
    return token


def _activity(token: AnyToken) -> ActivityToken:
    if not isinstance(token, ActivityToken):
        raise ServiceError(Code.TASK_NOT_FOUND, "this is not the token of an activity task")
    return token


def _run_of(token: str) -> str:
    try:
        return parse(token).run_id
    except ServiceError:
        return ""


def _too_large(size: int, limit: int) -> Failure:
    message = f"PAYLOAD_TOO_LARGE: the result has {size} bytes, the limit is {limit}"
    return Failure(message=message, info=ApplicationFailure(type=str(Code.PAYLOAD_TOO_LARGE), non_retryable=True))
