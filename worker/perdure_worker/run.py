"""The state of one run that its parts share: where it stands in time and history, and how a task fails.

A part (calls, messages, conditions, the ending) reads and changes it; the instance puts it together. It must not know
tasks, outcomes or how activations are driven.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from perdure._definition import WorkflowDefinition
from perdure._failures import exception_of, failure_of
from perdure._worker_interceptor import WorkflowInboundInterceptor
from perdure.converter import DataConverter
from perdure.exceptions import FailureError, NondeterminismError
from perdure_proto.events import WorkflowExecutionStarted
from perdure_proto.failures import Failure
from perdure_worker.loop import WorkflowLoop
from perdure_worker.loop_timers import TimerPort
from perdure_worker.origins import locate
from perdure_worker.outcome import InstanceOptions
from perdure_worker.replay import Execution
from perdure_worker.workflow_log import log_unhandled

HASH_STEP: Final = 4096
"""What separates the creation numbers of two runs; see `WorkflowLoop`."""


class Run:
    """One run of a workflow, in memory."""

    def __init__(self, options: InstanceOptions, definition: WorkflowDefinition, ids: tuple[str, str]) -> None:
        self.options = options
        self.definition = definition
        self.workflow_id, self.run_id = ids
        self.converter: DataConverter = options.converter
        self.execution = Execution()
        self.started: WorkflowExecutionStarted | None = None
        self.inbound: WorkflowInboundInterceptor | None = None
        """What runs around the code, where the worker has interceptors."""
        self.main: asyncio.Task[None] | None = None
        self.now = datetime.min.replace(tzinfo=UTC)
        self.began_at = self.now
        """When its code began: its first task, on replay as on the first run."""
        self.history_length = 0
        self.history_size_bytes = 0
        self.suggest_continue_as_new = False
        self.replaying = False
        self.read_only = False
        self.cancel_requested = False
        self.cancel_reason = ""
        self.memo: dict[str, Any] = {}
        self.search_attributes: dict[str, Any] = {}
        self.current_details = ""
        self.details_told = ""
        """What the service knows of them: those at the beginning of the task."""
        self.waitpoints: dict[str, tuple[str, int, datetime | None]] = {}
        """Those that nobody has completed, by the name of the signal that will: name, number and end."""
        self.task_failure: BaseException | None = None
        """The exception that fails the task; the first one counts."""
        self._seed = ""
        self._random: Random | None = None

    def begin(self, started: WorkflowExecutionStarted, timers: TimerPort) -> None:
        """The first event is known: what it decides is made."""
        self.started = started
        self.memo, self.search_attributes = started.memo, started.search_attributes
        self._seed = started.original_execution_run_id
        digest = hashlib.sha256(self._seed.encode()).digest()
        self.loop = WorkflowLoop(timers, self.note_unhandled, hash_origin=int.from_bytes(digest[:4]) * HASH_STEP)

    @property
    def workflow_type(self) -> str:
        """What it was started as; a dynamic workflow runs for many types."""
        return self.started.workflow_type if self.started is not None else self.definition.name

    @property
    def gone(self) -> bool:
        """Whether it is being taken out of memory."""
        return self.started is not None and self.loop.is_closed()

    @property
    def news_of_details(self) -> str | None:
        """The current details, where the service does not know them."""
        return self.current_details if self.current_details != self.details_told else None

    # Time and chance.

    def set_time(self, now: datetime) -> None:
        """It is this late in the workflow."""
        self.now = now
        self.loop.set_time(now.timestamp())

    def reseed(self, run_id: str) -> None:
        """After a reset chance takes another course."""
        self._seed, self._random = run_id, None

    def random(self) -> Random:
        """The workflow's generator, made when it is first asked for."""
        if self._random is None:
            self._random = Random(int.from_bytes(hashlib.sha256(self._seed.encode()).digest()))  # noqa: S311 - a replay must repeat it
        return self._random

    # What may be done now.

    def require_commands(self, what: str) -> None:
        """Refuses what would leave a trace in a query, in a validator, or on the way out of memory."""
        if self.read_only:
            raise NondeterminismError(
                f"{what} cannot be used in a query or a validator: they only look; use a signal or an update handler"
            )
        if self.loop.is_closed():
            raise RuntimeError(f"{what} cannot be used: this workflow is being taken out of memory")
        self.execution.origin = locate() if self.replaying else None

    @contextmanager
    def looking(self) -> Iterator[None]:
        """A block in which nothing may leave a trace."""
        before, self.read_only = self.read_only, True
        try:
            yield
        finally:
            self.read_only = before

    # Failures.

    def fail_task(self, error: BaseException) -> None:
        """The task fails, the workflow does not: it is tried again."""
        if self.task_failure is None and not self.gone:
            self.task_failure = error

    def failure_of(self, error: BaseException) -> Failure:
        """An exception as it travels."""
        return failure_of(error, self.converter)

    def exception_of(self, failure: Failure) -> FailureError:
        """What a failure raises in workflow code."""
        return exception_of(failure, self.converter)

    def note_unhandled(self, context: dict[str, Any]) -> None:
        """A failure that nobody awaited: logged, as asyncio does."""
        if not self.replaying and not self.gone:
            log_unhandled(self, context)
