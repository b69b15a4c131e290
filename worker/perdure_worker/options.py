"""The options of a worker, checked; each default stands here once."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from msgspec import Struct

from perdure._worker_interceptor import Interceptor

CONCURRENT_MAX: Final = 10_000
"""More tasks at once than this is surely a mistake."""


class WorkerOptions(Struct, frozen=True, kw_only=True):
    """See `Worker` for what each means."""

    task_queue: str
    max_concurrent_workflow_tasks: int = 100
    max_concurrent_activities: int = 100
    max_concurrent_local_activities: int = 100
    max_cached_workflows: int = 1_000
    max_task_queue_activities_per_second: float | None = None
    max_worker_activities_per_second: float | None = None
    graceful_shutdown_timeout: timedelta = timedelta(0)
    interceptors: Sequence[Interceptor] = ()
    database_url: str = ""
    database_pool: Any = None
    identity: str = ""
    build_id: str = ""
    deployment_name: str = ""

    def check(self) -> None:
        """Raises `TypeError` or `ValueError`, naming the option."""
        if not self.task_queue:
            raise ValueError("task_queue must be the name of a task queue")
        for name in ("workflow_tasks", "activities", "local_activities"):
            self._check_count(f"max_concurrent_{name}", least=1, most=CONCURRENT_MAX)
        self._check_count("max_cached_workflows", least=0, most=1_000_000)
        for name in ("max_worker_activities_per_second", "max_task_queue_activities_per_second"):
            rate: float | None = getattr(self, name)
            if rate is not None and not 0 < rate < float("inf"):
                raise ValueError(f"{name} must be positive, not {rate!r}")
        if not isinstance(self.graceful_shutdown_timeout, timedelta):
            raise TypeError("graceful_shutdown_timeout is a timedelta, such as timedelta(seconds=10)")
        for one in self.interceptors:
            if not isinstance(one, Interceptor):
                raise TypeError(f"interceptors has {one!r}, which is no perdure_worker.Interceptor")
        if self.database_url and self.database_pool is not None:
            raise ValueError("give database_url or database_pool, not both")

    def _check_count(self, name: str, *, least: int, most: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int):
            raise TypeError(f"{name} is an int, not {value!r}")
        if not least <= value <= most:
            raise ValueError(f"{name} must be between {least} and {most}, not {value}")


def default_identity() -> str:
    """Who runs this: the process and its machine."""
    return f"{os.getpid()}@{socket.gethostname()}"
