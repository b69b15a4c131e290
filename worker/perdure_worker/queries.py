"""Queries: answered by a handler that only looks, from the state in which the workflow rests.

`__stack_trace` and `__waitpoints` are answered for every workflow. It must not know tasks: who drives the workflow
brings it to rest.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from perdure._worker_interceptor import HandleQueryInput
from perdure.exceptions import ApplicationError
from perdure_proto.tasks import QueryDelivery, QueryResult
from perdure_proto.waitpoints import QUERY as WAITPOINTS
from perdure_proto.waitpoints import PendingWaitpoint
from perdure_worker.messages import SIGNAL, UPDATE, Handlers, arguments
from perdure_worker.origins import stacks_of
from perdure_worker.stepping import at_once
from perdure_worker.waitpoints import pending_waitpoints

if TYPE_CHECKING:
    from perdure_worker.run import Run

QUERY: Final = "query"
STACK_TRACE: Final = "__stack_trace"
METADATA: Final = "__perdure_workflow_metadata"


def answer(run: Run, handlers: Handlers, query: QueryDelivery) -> QueryResult:
    """The answer: a value, or the failure that the handler raised."""
    try:
        with run.looking():
            value, kind = _value_of(run, handlers, query)
            result, encoding = run.converter.encode_value(value, kind)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return QueryResult(query_id=query.query_id, failure=run.failure_of(error))
    return QueryResult(query_id=query.query_id, result=result, encoding=encoding)


def _value_of(run: Run, handlers: Handlers, query: QueryDelivery) -> tuple[Any, Any]:
    handler = handlers.find(QUERY, query.query_name)
    is_own = query.query_name in {STACK_TRACE, METADATA, WAITPOINTS} and not handlers.has(QUERY, query.query_name)
    if handler is not None and not is_own:
        args, kwargs = arguments(run, handler, query.query_name, query)
        if (inbound := run.inbound) is not None:
            given = HandleQueryInput(query.query_id, query.query_name, handler.fn, args, kwargs, query.header)
            return at_once(inbound.handle_query(given)), handler.result_type
        value = handler.fn(*args, **kwargs)
        if inspect.iscoroutine(value):
            value.close()
            raise TypeError(f"the handler of query {query.query_name!r} is a coroutine: a query is a plain def")
        return value, handler.result_type
    if query.query_name == STACK_TRACE:
        return stacks_of(run.loop.tasks()) if run.started is not None else "", str
    if query.query_name == WAITPOINTS:
        return pending_waitpoints(run), list[PendingWaitpoint]
    if query.query_name == METADATA:
        return _metadata(run, handlers), None
    known = ", ".join([repr(one.name) for one in handlers.of(QUERY) if one.name]) or "none"
    raise ApplicationError(
        f"the workflow has no handler for query {query.query_name!r}; it has: {known}", type="QUERY_HANDLER_NOT_FOUND"
    )


def _metadata(run: Run, handlers: Handlers) -> dict[str, Any]:
    """What the workflow takes, for people and tools."""
    kinds = {"queries": QUERY, "signals": SIGNAL, "updates": UPDATE}
    return {
        "workflow_type": run.workflow_type,
        **{
            key: [{"name": one.name, "description": one.description} for one in handlers.of(kind)]
            for key, kind in kinds.items()
        },
    }
