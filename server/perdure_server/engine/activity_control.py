"""What operators do to single pending activities; done when the row beside the log is durable."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from perdure_proto import service as svc
from perdure_proto.errors import Code, ServiceError
from perdure_server.engine.checks import check_id
from perdure_server.history import requests as req

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

_TIMEOUTS = ("schedule_to_close_timeout", "schedule_to_start_timeout", "start_to_close_timeout", "heartbeat_timeout")


class ActivityControls:
    """Finds activities by their id, and has them changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def pause(self, at: tuple[str, str, str], request: svc.PauseActivityRequest) -> svc.Acknowledged:
        """Hands it out no more. `at` is namespace, workflow id and activity id, here and below."""
        return await self._control(
            at,
            request.run_id,
            lambda event_id: req.PauseActivity(
                scheduled_event_id=event_id, reason=request.reason, identity=request.identity
            ),
        )

    async def unpause(self, at: tuple[str, str, str], request: svc.UnpauseActivityRequest) -> svc.Acknowledged:
        """Lets it go on."""
        delay = self._draw(request.jitter)
        return await self._control(
            at,
            request.run_id,
            lambda event_id: req.UnpauseActivity(
                scheduled_event_id=event_id,
                reset_attempts=request.reset_attempts,
                reset_heartbeat=request.reset_heartbeat,
                delay=delay,
            ),
        )

    async def reset(self, at: tuple[str, str, str], request: svc.ResetActivityRequest) -> svc.Acknowledged:
        """Begins it anew."""
        delay = self._draw(request.jitter)
        return await self._control(
            at,
            request.run_id,
            lambda event_id: req.ResetActivity(
                scheduled_event_id=event_id,
                keep_paused=request.keep_paused,
                reset_heartbeat=request.reset_heartbeat,
                restore_options=request.restore_options,
                delay=delay,
            ),
        )

    async def update_options(
        self, at: tuple[str, str, str], request: svc.UpdateActivityOptionsRequest
    ) -> svc.Acknowledged:
        """Gives it other options."""
        changes = {name: getattr(request, name) for name in (*_TIMEOUTS, "retry_policy")}
        changes = {name: value for name, value in changes.items() if value is not None}
        if request.task_queue:
            check_id("task_queue", request.task_queue, self._engine.limits)
            changes["task_queue"] = request.task_queue
        if bool(changes) == request.restore_original:
            raise ServiceError(Code.INVALID_ARGUMENT, "give options to change, or restore_original, not both")
        self._check(request)
        return await self._control(
            at,
            request.run_id,
            lambda event_id: req.UpdateActivityOptions(
                scheduled_event_id=event_id, changes=changes, restore_original=request.restore_original
            ),
        )

    def _check(self, request: svc.UpdateActivityOptionsRequest) -> None:
        for name in _TIMEOUTS:
            value = getattr(request, name)
            if value is not None and value <= timedelta(0):
                raise ServiceError(Code.INVALID_ARGUMENT, f"{name} must be positive")
        wrong = request.retry_policy.refusal() if request.retry_policy else None
        if wrong:
            raise ServiceError(Code.INVALID_ARGUMENT, f"retry_policy: {wrong}")

    def _draw(self, jitter: timedelta) -> timedelta:
        """A delay by chance, so that activities that go on together do not come together."""
        if jitter < timedelta(0):
            raise ServiceError(Code.INVALID_ARGUMENT, "jitter must not be negative")
        return jitter * random.random()  # noqa: S311 - it only spreads load

    async def _control(
        self, at: tuple[str, str, str], run_id: str, request: Callable[[int], req.Request]
    ) -> svc.Acknowledged:
        namespace, workflow_id, activity_id = at
        execution = await self._engine.residents.find(namespace, workflow_id, run_id)
        event_id = execution.state.activity_ids.get(activity_id)
        if event_id is None:
            message = f"run {execution.run_id} has no pending activity {activity_id!r}"
            raise ServiceError(Code.ACTIVITY_NOT_FOUND, message)
        execution.offered.discard(("activity", event_id))  # it may be due in another queue now; the old offer is stale
        self._engine.transact(execution, request(event_id))
        await self._engine.settled(execution)
        return svc.Acknowledged(run_id=execution.run_id)
