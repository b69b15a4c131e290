"""A runtime that takes down what workflow code asks for, and answers when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from random import Random
from typing import Any, NoReturn
from uuid import UUID

from perdure import _runtime, workflow
from perdure._runtime import (
    ActivityRequest,
    CancelExternalRequest,
    ChildWorkflowRequest,
    ContinueAsNewRequest,
    Handler,
    OpenWaitpoint,
    SignalExternalRequest,
)
from perdure.converter import DataConverter
from perdure.exceptions import ContinueAsNewError
from perdure.metrics import MetricMeter

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class StandInChannel:
    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def receive(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.values:
            future.set_result(self.values.pop(0))
        return future

    def receive_nowait(self) -> Any:
        if not self.values:
            raise asyncio.QueueEmpty
        return self.values.pop(0)


class StandInRuntime:
    def __init__(self) -> None:
        self.activities: list[ActivityRequest] = []
        self.children: list[ChildWorkflowRequest] = []
        self.sent: list[SignalExternalRequest | CancelExternalRequest] = []
        self.results: list[Any] = []
        self.timers: list[tuple[float, str | None]] = []
        self.handlers: dict[str | None, Handler] = {}
        self.validators: dict[str | None, Callable[..., None]] = {}
        self.channels: dict[str, Any] = {}
        self.signals: list[Any] = []
        self.dropped: list[tuple[str, int]] = []
        self.logged: list[tuple[int, str, tuple[object, ...], dict[str, Any]]] = []
        self.patches: list[tuple[str, bool]] = []
        self.condition_holds = True
        self.last_result: Any = None
        self.details = ""
        self.upserted: list[tuple[str, dict[str, Any]]] = []

    def start_activity(self, request: ActivityRequest) -> asyncio.Future[Any]:
        self.activities.append(request)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result(self.results.pop(0) if self.results else None)
        return future

    def start_child_workflow(self, request: ChildWorkflowRequest) -> asyncio.Future[Any]:
        self.children.append(request)
        return self._done(self.results.pop(0) if self.results else None)

    def child_started(self, child: asyncio.Future[Any]) -> asyncio.Future[None]:
        return self._done(None)

    def signal_external_workflow(self, request: SignalExternalRequest) -> asyncio.Future[None]:
        self.sent.append(request)
        return self._done(None)

    def cancel_external_workflow(self, request: CancelExternalRequest) -> asyncio.Future[None]:
        self.sent.append(request)
        return self._done(None)

    def _done(self, value: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result(value)
        return future

    def start_timer(self, delay: float, summary: str | None = None) -> asyncio.Future[None]:
        self.timers.append((delay, summary))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    def wait_condition(self, fn: Callable[[], bool]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if fn():
            future.set_result(None)
        return future

    def set_handler(self, handler: Handler) -> None:
        self.handlers[handler.name] = handler

    def set_validator(self, update_name: str | None, fn: Callable[..., None]) -> None:
        self.validators[update_name] = fn

    def signal_channel(self, name: str, value_type: Any) -> StandInChannel:
        self.channels[name] = value_type
        return StandInChannel(self.signals)

    def waitpoint(self, name: str, value_type: Any, expires_at: datetime | None) -> OpenWaitpoint:
        return OpenWaitpoint(f"token of {name}", "", self.signal_channel(name, value_type))

    def continue_as_new(self, request: ContinueAsNewRequest) -> NoReturn:
        raise ContinueAsNewError(request)

    def upsert_search_attributes(self, upserted: dict[str, Any]) -> None:
        self.upserted.append(("search attributes", upserted))

    def upsert_memo(self, upserted: dict[str, Any]) -> None:
        self.upserted.append(("memo", upserted))

    def set_current_details(self, details: str) -> None:
        self.details = details

    def current_details(self) -> str:
        return self.details

    def info(self) -> workflow.Info:
        return workflow.Info(
            workflow_id="w",
            run_id="r",
            workflow_type="order",
            start_time=NOW,
            workflow_start_time=NOW,
            first_execution_run_id="r",
            history_length=7,
        )

    def has_last_completion_result(self) -> bool:
        return self.last_result is not None

    def last_completion_result(self, result_type: Any) -> Any:
        return self.last_result

    def last_failure(self) -> BaseException | None:
        return ValueError("before")

    def now(self) -> datetime:
        return NOW

    def now_seconds(self) -> float:
        return NOW.timestamp()

    def random(self) -> Random:
        return Random(1)

    def uuid4(self) -> UUID:
        return UUID(int=1, version=4)

    def is_replaying(self) -> bool:
        return False

    def fails_task(self, error: BaseException) -> bool:
        return False

    def is_read_only(self) -> bool:
        return False

    def all_handlers_finished(self) -> bool:
        return True

    def cancellation_reason(self) -> str | None:
        return None

    def current_update(self) -> workflow.UpdateInfo | None:
        return None

    def patched(self, patch_id: str, *, deprecated: bool) -> bool:
        self.patches.append((patch_id, deprecated))
        return True

    def log(self, level: int, message: str, args: tuple[object, ...], extra: dict[str, Any]) -> None:
        self.logged.append((level, message, args, extra))

    def never_awaited(self, name: str, filename: str, line: int) -> None:
        self.dropped.append((name, line))

    def metric_meter(self) -> MetricMeter:
        return MetricMeter()

    def outside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def converter(self) -> DataConverter:
        return DataConverter()


@contextmanager
def inside() -> Iterator[StandInRuntime]:
    """Lets the block pass for the code of a workflow."""
    runtime = StandInRuntime()
    token = _runtime.current.set(runtime)
    try:
        yield runtime
    finally:
        _runtime.current.reset(token)
