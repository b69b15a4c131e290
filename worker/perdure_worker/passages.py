"""The way of a channel's signals through the interceptors of a workflow.

A signal of a channel has no handler that could be called: what stands in its place takes the value. Interceptors run in
a context of their own within the task that receives, so nothing is added to the order of steps. It must not know how
values wait for whoever receives them.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any

from perdure._worker_interceptor import HandleSignalInput, WorkflowInboundInterceptor
from perdure_worker.channels import KEPT_BACK, Item
from perdure_worker.stepping import apart, at_once


class SignalPassage:
    """The interceptors that the signals of one name pass."""

    def __init__(self, name: str, inbound: WorkflowInboundInterceptor) -> None:
        self._name = name
        self._inbound = inbound

    def through(self, item: Item) -> Generator[Any, Any, object]:
        """What is taken, when the interceptors are done; they may wait."""
        taken = _Taken()
        yield from apart(self._handling(item, taken))
        return taken.value

    def at_once(self, item: Item) -> object:
        """What is taken. Raises `TypeError` where an interceptor waits."""
        taken = _Taken()
        copy_context().run(at_once, self._handling(item, taken))
        return taken.value

    def _handling(self, item: Item, taken: _Taken) -> Coroutine[Any, Any, None]:
        return self._inbound.handle_signal(HandleSignalInput(self._name, taken.take, [item.value], {}, item.header))


class _Taken:
    """In the place of a handler: the value that the interceptors passed on."""

    def __init__(self) -> None:
        self.value: object = KEPT_BACK

    def take(self, value: object) -> None:
        """The value goes to whoever receives."""
        self.value = value
