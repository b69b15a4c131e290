"""Coroutines that are driven by hand: what runs around a plain function has no task of its own.

The interceptors of a query, or of a handler that is a plain def, are coroutines that as a rule wait for nothing. They
are run where the function would have run, so that the order of steps is the same with and without interceptors.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any


def driven(coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - as above
    """What a coroutine comes to without waiting; where it waits, a coroutine for the rest of it."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration as end:
        return end.value
    return _resumed(coroutine, waits_for)


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - as above
    """What the interceptors of a query, or of the start of a child, come to. Raises `TypeError` where they wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    name = getattr(coroutine, "__qualname__", "method")
    coroutine.close()
    raise TypeError(f"the interceptor's {name}() waits, where there must be an answer at once")


@types.coroutine
def apart(coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """What a coroutine comes to, within the task that awaits this: what it sets in its context stays its own."""
    context = copy_context()
    try:
        waits_for = context.run(coroutine.send, None)
        while True:
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001 - a cancellation, which the coroutine is to see
                waits_for = context.run(coroutine.throw, error)
            else:
                waits_for = context.run(coroutine.send, sent)
    except StopIteration as end:
        return end.value


async def _resumed(coroutine: Coroutine[Any, Any, Any], waits_for: object) -> Any:  # noqa: ANN401 - as above
    return await _rest_of(coroutine, waits_for)


@types.coroutine
def _rest_of(coroutine: Coroutine[Any, Any, Any], waits_for: object) -> Generator[Any, Any, Any]:
    while True:
        try:
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001 - a cancellation, which the coroutine is to see
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(sent)
        except StopIteration as end:
            return end.value
