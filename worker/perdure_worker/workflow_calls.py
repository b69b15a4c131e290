"""What workflow code can ask for: the seam's `WorkflowRuntime`, each call passed on to the part that owns it.

It holds no state but patches and notes. It must not know how activations are driven.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from random import Random
from typing import Any, NoReturn
from uuid import UUID

from msgspec import Raw

from perdure._runtime import (
    ActivityRequest,
    CancelExternalRequest,
    Channel,
    ChildWorkflowRequest,
    ContinueAsNewRequest,
    Handler,
    OpenWaitpoint,
    SignalExternalRequest,
    current,
)
from perdure._workflow_info import Info, ParentInfo, UpdateInfo
from perdure.converter import DataConverter
from perdure.exceptions import ContinueAsNewError
from perdure.metrics import MetricMeter
from perdure_proto.attributes import merged
from perdure_proto.codec import encoder
from perdure_proto.commands import ModifyWorkflowProperties, RecordMarker, UpsertWorkflowSearchAttributes
from perdure_proto.events import WorkflowExecutionStarted
from perdure_proto.options import Priority
from perdure_proto.payload import NULL
from perdure_proto.waitpoints import signal_name
from perdure_worker.activity_calls import ActivityCalls
from perdure_worker.child_calls import ChildCalls, StartedChild
from perdure_worker.conditions import Conditions
from perdure_worker.endings import is_program_error
from perdure_worker.external_calls import ExternalCalls
from perdure_worker.guard.seam import Suspension
from perdure_worker.messages import SIGNAL, UPDATE, Handlers, Signals
from perdure_worker.queries import QUERY
from perdure_worker.replay.machines.marker import PATCH, PatchDetails
from perdure_worker.run import Run
from perdure_worker.timers import Timers
from perdure_worker.updates import Updates, current_update
from perdure_worker.waitpoints import make_token
from perdure_worker.workflow_log import log
from perdure_worker.workflow_metrics import OnceRecorded


class Parts:
    """What takes care of the calls of one run."""

    def __init__(self, run: Run, handlers: Handlers, signals: Signals) -> None:
        self.run = run
        self.handlers = handlers
        self.signals = signals
        self.updates = Updates(run, handlers)
        self.activities = ActivityCalls(run)
        self.children = ChildCalls(run)
        self.external = ExternalCalls(run)
        self.timers = Timers(run)
        self.conditions = Conditions()
        self.recorded_patches: set[str] = set()
        """The patches that history has marked, up to the task that is replayed."""
        self.dropped_call = ""
        """The first call that was never awaited, with its line."""


class WorkflowCalls:
    """The runtime of one workflow, as its code sees it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._run = parts.run
        self._patches: dict[str, bool] = {}
        self._waitpoints: dict[str, int] = {}
        """How many of each name were opened."""

    # Things to wait for.

    def start_activity(self, request: ActivityRequest) -> asyncio.Future[Any]:
        return self._parts.activities.start(request)

    def start_child_workflow(self, request: ChildWorkflowRequest) -> asyncio.Future[Any]:
        return self._parts.children.start_child(request)

    def child_started(self, child: asyncio.Future[Any]) -> asyncio.Future[None]:
        assert isinstance(child, StartedChild)
        return self._parts.children.started(child)

    def signal_external_workflow(self, request: SignalExternalRequest) -> Awaitable[None]:
        return self._parts.external.signal(request)

    def cancel_external_workflow(self, request: CancelExternalRequest) -> asyncio.Future[None]:
        return self._parts.external.cancel(request)

    def start_timer(self, delay: float, summary: str | None = None) -> asyncio.Future[None]:
        return self._parts.timers.start(delay, summary or "")

    def wait_condition(self, fn: Callable[[], bool]) -> asyncio.Future[None]:
        self._run.require_commands("wait_condition()")
        future: asyncio.Future[None] = self._run.loop.create_future()
        self._parts.conditions.add(fn, future)
        return future

    # Messages.

    def set_handler(self, handler: Handler) -> None:
        self._run.require_commands(f"declaring a {handler.kind} handler")
        added: dict[str, Callable[[Handler], None]] = {
            SIGNAL: self._parts.signals.handler_added,
            UPDATE: self._parts.updates.handler_added,
            QUERY: lambda _: None,
        }
        self._parts.handlers.add(handler)
        added[handler.kind](handler)

    def set_validator(self, update_name: str | None, fn: Callable[..., None]) -> None:
        self._run.require_commands("declaring a validator")
        self._parts.updates.set_validator(update_name, fn)

    def signal_channel(self, name: str, value_type: object) -> Channel:
        return self._parts.signals.channel(name, value_type)

    def waitpoint(self, name: str, value_type: object, expires_at: datetime | None) -> OpenWaitpoint:
        self._run.require_commands(f"waitpoint {name!r}")
        number = self._waitpoints[name] = self._waitpoints.get(name, 0) + 1
        token, url = make_token(self._run, name, number, expires_at)
        signal = signal_name(name, number)
        self._run.waitpoints[signal] = name, number, expires_at
        return OpenWaitpoint(token=token, url=url, channel=self._parts.signals.waitpoint(signal, value_type))

    def all_handlers_finished(self) -> bool:
        return self._parts.handlers.all_finished

    def current_update(self) -> UpdateInfo | None:
        return current_update.get()

    # The run itself.

    def continue_as_new(self, request: ContinueAsNewRequest) -> NoReturn:
        self._run.require_commands("continue_as_new()")
        raise ContinueAsNewError(request)

    def patched(self, patch_id: str, *, deprecated: bool) -> bool:
        known = self._patches.get(patch_id)
        if known is not None:
            return known
        self._run.require_commands("a patch")
        takes_new = not self._run.replaying or patch_id in self._parts.recorded_patches
        self._patches[patch_id] = takes_new
        if takes_new:
            details = Raw(encoder.encode(PatchDetails(patch_id=patch_id, deprecated=deprecated)))
            self._run.execution.patch(RecordMarker(marker_name=PATCH, details=details), patch_id)
        return takes_new

    def upsert_search_attributes(self, upserted: dict[str, Any]) -> None:
        run = self._run
        run.require_commands("upsert_search_attributes()")
        run.search_attributes = merged(run.search_attributes, upserted)
        run.execution.upsert(UpsertWorkflowSearchAttributes(search_attributes=upserted), "search attributes")

    def upsert_memo(self, upserted: dict[str, Any]) -> None:
        run = self._run
        run.require_commands("upsert_memo()")
        run.memo = merged(run.memo, upserted)
        run.execution.upsert(ModifyWorkflowProperties(upserted_memo=upserted), "memo")

    def set_current_details(self, details: str) -> None:
        self._run.require_commands("set_current_details()")
        self._run.current_details = details

    def current_details(self) -> str:
        return self._run.current_details

    def info(self) -> Info:
        run, started = self._run, self._run.started
        assert started is not None
        return Info(
            workflow_id=run.workflow_id,
            run_id=run.run_id,
            workflow_type=started.workflow_type,
            namespace=run.options.namespace,
            task_queue=started.task_queue or run.options.task_queue,
            attempt=started.attempt,
            start_time=run.began_at,
            workflow_start_time=started.event_time,
            execution_timeout=started.workflow_execution_timeout,
            run_timeout=started.workflow_run_timeout,
            task_timeout=started.workflow_task_timeout,
            retry_policy=started.retry_policy,
            cron_schedule=started.cron_schedule or None,
            continued_run_id=started.continued_execution_run_id or None,
            first_execution_run_id=started.first_execution_run_id,
            parent=_parent_of(started),
            memo=run.memo,
            search_attributes=run.search_attributes,
            priority=started.priority or Priority(),
            headers=started.header,
            history_length=run.history_length,
            history_size=run.history_size_bytes,
            continue_as_new_suggested=run.suggest_continue_as_new,
        )

    def has_last_completion_result(self) -> bool:
        started = self._run.started
        assert started is not None
        # A history that Temporal recorded does not say which run gave the result.
        return bool(started.last_completion_run_id) or bytes(started.last_completion_result) != bytes(NULL)

    def last_completion_result(self, result_type: Any) -> Any:  # noqa: ANN401 - a type form, and a value of it
        started = self._run.started
        assert started is not None
        result = started.last_completion_result
        if bytes(result) == bytes(NULL):
            return None
        return self._run.converter.decode_value(result, started.last_completion_encoding, result_type)

    def last_failure(self) -> BaseException | None:
        started = self._run.started
        assert started is not None
        failure = started.continued_failure
        return None if failure is None else self._run.exception_of(failure)

    def cancellation_reason(self) -> str | None:
        return self._run.cancel_reason if self._run.cancel_requested else None

    def now(self) -> datetime:
        return self._run.now

    def now_seconds(self) -> float:
        run = self._run
        # Before the first event is read somebody may ask too: what runs when garbage is collected, say.
        return run.loop.time() if run.started is not None else run.now.timestamp()

    def random(self) -> Random:
        self._run.require_commands("the workflow's random()")
        return self._run.random()

    def uuid4(self) -> UUID:
        return UUID(int=self.random().getrandbits(128), version=4)

    def is_replaying(self) -> bool:
        return self._run.replaying

    def fails_task(self, error: BaseException) -> bool:
        return is_program_error(error, self._run.definition.failure_exception_types)

    def is_read_only(self) -> bool:
        return self._run.read_only

    def converter(self) -> DataConverter:
        return self._run.converter

    def metric_meter(self) -> MetricMeter:
        run = self._run
        belongs_to = {
            "namespace": run.options.namespace,
            "task_queue": run.options.task_queue,
            "workflow_type": run.definition.name,
        }
        meter = run.options.meter
        return MetricMeter(OnceRecorded(run, meter.sink), {**meter.attributes, **belongs_to})

    def outside(self) -> Suspension:
        return Suspension(current)

    def log(self, level: int, message: str, args: tuple[object, ...], extra: dict[str, Any]) -> None:
        log(self._run, level, message, *args, extra=extra)

    def never_awaited(self, name: str, filename: str, line: int) -> None:
        if not self._run.gone and not self._run.read_only and not self._parts.dropped_call:
            self._parts.dropped_call = (
                f"{name}() was called at {filename}:{line} and never awaited: write await before it"
            )


def _parent_of(started: WorkflowExecutionStarted) -> ParentInfo | None:
    if not started.parent_workflow_id:
        return None
    return ParentInfo(
        namespace=started.parent_workflow_namespace,
        workflow_id=started.parent_workflow_id,
        run_id=started.parent_run_id,
    )
