"""What a workflow can know of itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from perdure_proto.options import Priority, RetryPolicy


class ParentInfo(Struct, frozen=True, kw_only=True):
    """The run that started this workflow as a child."""

    namespace: str
    workflow_id: str
    run_id: str


class Info(Struct, frozen=True, kw_only=True):
    """The run that asks. Times are in UTC; a fresh one is as of now."""

    workflow_id: str
    run_id: str
    workflow_type: str
    namespace: str = "default"
    task_queue: str = "default"
    attempt: int = 1
    """1 for the first; counts what the retry policy of the workflow started again. Other runs of a chain begin at 1."""
    start_time: datetime
    """When this run's code began: after the start delay, the backoff or the wait for a tick."""
    workflow_start_time: datetime
    """When this run's first event was written: before it waited."""
    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta = timedelta(seconds=10)
    retry_policy: RetryPolicy | None = None
    cron_schedule: str | None = None
    continued_run_id: str | None = None
    """The run before, where this one is not the first of its chain: a retry, a cron run, or continued as new."""
    first_execution_run_id: str
    """The first run of the chain; the same in all of them."""
    parent: ParentInfo | None = None
    """The workflow that started this one as a child; None when none did."""
    memo: Mapping[str, Any] = MappingProxyType({})
    search_attributes: Mapping[str, Any] = MappingProxyType({})
    priority: Priority = Priority()
    headers: Mapping[str, Any] = MappingProxyType({})
    """What interceptors of whoever started it have sent along."""
    history_length: int = 0
    history_size: int = 0
    continue_as_new_suggested: bool = False

    def get_current_history_length(self) -> int:
        """How many events the history had when the current task began."""
        return self.history_length

    def get_current_history_size(self) -> int:
        """How many bytes the history had when the current task began."""
        return self.history_size

    def is_continue_as_new_suggested(self) -> bool:
        """Whether the history has grown so long that the workflow should continue as new."""
        return self.continue_as_new_suggested


class UpdateInfo(Struct, frozen=True, kw_only=True):
    """The update whose handler runs."""

    id: str
    name: str
