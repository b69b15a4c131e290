"""The interceptors around one attempt of an activity, from the outermost to the call of its function.

Made only where a worker has interceptors. The chain runs as a coroutine on the worker's loop, also for a `def`, whose
call in a thread it waits for. It must not know how attempts are started or handed in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from perdure._runtime import ActivityRuntime, current_activity
from perdure._worker_interceptor import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)
from perdure.activity import Info
from perdure.metrics import MetricMeter

FATAL: Final = (SystemExit, KeyboardInterrupt)
"""What would end the worker if a task of its loop raised it."""


class Runtime:
    """The runtime as intercepted code sees it: `info` and `heartbeat` pass through the outbound chain."""

    def __init__(self, runtime: ActivityRuntime) -> None:
        self._runtime = runtime
        self.outbound: ActivityOutboundInterceptor = Calls(runtime)

    def info(self) -> Info:
        return self.outbound.info()

    def heartbeat(self, details: tuple[object, ...]) -> None:
        self.outbound.heartbeat(*details)

    def cancellation_details(self) -> Any:  # noqa: ANN401 - as the seam has it
        return self._runtime.cancellation_details()

    def metric_meter(self) -> MetricMeter:
        return self._runtime.metric_meter()

    def is_cancelled(self) -> bool:
        return self._runtime.is_cancelled()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what else the runtime has is not intercepted
        return getattr(self._runtime, name)


class Calls(ActivityOutboundInterceptor):
    """The end of the outbound chain."""

    def __init__(self, runtime: ActivityRuntime) -> None:
        super().__init__(self)
        self._runtime = runtime

    def info(self) -> Info:
        info: Info = self._runtime.info()
        return info

    def heartbeat(self, *details: object) -> None:
        self._runtime.heartbeat(details)


class Attempt(ActivityInboundInterceptor):
    """The end of the inbound chain."""

    def __init__(self, runtime: Runtime, call: Callable[[partial[Any]], Awaitable[Any]]) -> None:
        super().__init__(self)
        self._runtime = runtime
        self._call = call

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self._runtime.outbound = outbound

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: ANN401 - whatever the activity returns
        return await self._call(partial(input.fn, *input.args, **input.kwargs))


class Chain:
    """The interceptors of a worker around one attempt.

    `call` begins the function, in the context of who calls it, and gives what to wait for.
    """

    def __init__(
        self,
        interceptors: Sequence[Interceptor],
        runtime: ActivityRuntime,
        call: Callable[[partial[Any]], Awaitable[Any]],
    ) -> None:
        self.runtime = Runtime(runtime)
        self._inbound: ActivityInboundInterceptor = Attempt(self.runtime, call)
        for interceptor in reversed(interceptors):
            self._inbound = interceptor.intercept_activity(self._inbound)

    async def run(self, call: partial[Any], headers: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as above
        """The attempt; gives what it gives."""
        token = current_activity.set(self.runtime)
        try:
            self._inbound.init(self.runtime.outbound)
            given = ExecuteActivityInput(call.func, call.args, call.keywords, headers)
            return await self._inbound.execute_activity(given)
        finally:
            current_activity.reset(token)
