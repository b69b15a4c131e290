"""What is refused at the door: ids, sizes, options. Each refusal names the limit and changes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.options import Priority, concurrency_refusal
from perdure_proto.service import StartActivityRequest, StartWorkflowRequest
from perdure_proto.waitpoints import SIGNAL_PREFIX
from perdure_server.config import Limits
from perdure_server.history.properties import wrong_attributes, wrong_memo, wrong_text
from perdure_server.history.ticks import refusal


def check_id(name: str, value: str, limits: Limits) -> None:
    """An id has 1 to 255 characters and nothing that Postgres cannot store."""
    if not value:
        raise ServiceError(Code.INVALID_ARGUMENT, f"{name} is empty")
    if len(value) > limits.id_length_max:
        message = f"{name} has {len(value)} characters, the limit is {limits.id_length_max}"
        raise ServiceError(Code.ID_TOO_LONG, message, limit=limits.id_length_max)
    if not value.isprintable():
        raise ServiceError(Code.INVALID_ARGUMENT, f"{name} {value!r} has characters that cannot be printed")


def check_signal_name(name: str, limits: Limits) -> None:
    """Signals that complete waitpoints come by token alone."""
    check_id("signal name", name, limits)
    if name.startswith(SIGNAL_PREFIX):
        raise ServiceError(Code.INVALID_ARGUMENT, f"signals {SIGNAL_PREFIX}… complete waitpoints: resume by token")


def check_payload(name: str, limits: Limits, *values: bytes) -> None:
    """A value as it travels must not pass the payload limit."""
    size = sum(len(bytes(value)) for value in values)
    if size > limits.payload_bytes_max:
        message = (
            f"{name} has {size} bytes, the limit is {limits.payload_bytes_max}: keep large values elsewhere"
            " and pass a reference"
        )
        raise ServiceError(Code.PAYLOAD_TOO_LARGE, message, size=size, limit=limits.payload_bytes_max)


def check_arguments(arguments: msgspec.Raw, kwargs: msgspec.Raw, limits: Limits) -> None:
    """Positional arguments are a JSON array, keyword arguments an object or null."""
    if bytes(arguments).lstrip()[:1] != b"[":
        raise ServiceError(Code.INVALID_ARGUMENT, 'input must be a JSON array of arguments, like ["Ada"]')
    if bytes(kwargs).lstrip()[:1] not in (b"{", b"n"):
        raise ServiceError(Code.INVALID_ARGUMENT, "kwargs must be a JSON object")
    check_payload("the input", limits, arguments, kwargs)


def check_header(header: dict[str, Any], limits: Limits) -> None:
    """What interceptors send along is as bounded as an argument."""
    if header:
        check_payload("the header", limits, encoder.encode(header))


def check_start(workflow_id: str, request: StartWorkflowRequest, limits: Limits) -> None:
    """A start that cannot be done is refused before anything is written."""
    check_id("workflow id", workflow_id, limits)
    check_id("workflow_type", request.workflow_type, limits)
    check_id("task_queue", request.task_queue, limits)
    if request.request_id:
        check_id("request_id", request.request_id, limits)
    check_arguments(request.input, request.kwargs, limits)
    _check_text("static_summary", request.static_summary, limits.summary_bytes_max)
    _check_text("static_details", request.static_details, limits.details_bytes_max)
    _check_positive("workflow_execution_timeout", request.workflow_execution_timeout)
    _check_positive("workflow_run_timeout", request.workflow_run_timeout)
    _check_positive("workflow_task_timeout", request.workflow_task_timeout)
    wrong = request.retry_policy.refusal() if request.retry_policy else None
    if wrong:
        raise ServiceError(Code.INVALID_ARGUMENT, f"retry_policy: {wrong}")
    _check_first_task(request, limits)
    _check_priority(request.priority)
    _check_properties(request, limits)
    check_header(request.header, limits)


def check_activity_start(request: StartActivityRequest, limits: Limits) -> None:
    """What the start of a standalone activity has beyond that of a workflow."""
    check_id("activity_type", request.activity_type, limits)
    check_arguments(request.input, request.kwargs, limits)
    _check_positive("schedule_to_close_timeout", request.schedule_to_close_timeout)
    _check_positive("schedule_to_start_timeout", request.schedule_to_start_timeout)
    _check_positive("start_to_close_timeout", request.start_to_close_timeout)
    _check_positive("heartbeat_timeout", request.heartbeat_timeout)
    wrong = request.retry_policy.refusal() if request.retry_policy else None
    if wrong:
        raise ServiceError(Code.INVALID_ARGUMENT, f"retry_policy: {wrong}")
    _check_priority(request.priority)
    wrong = concurrency_refusal(request.concurrency_key, request.concurrency_max)
    if wrong:
        raise ServiceError(Code.INVALID_ARGUMENT, wrong)


def _check_priority(priority: Priority | None) -> None:
    wrong = priority.refusal() if priority else None
    if wrong:
        raise ServiceError(Code.INVALID_ARGUMENT, f"priority: {wrong}")


def _check_first_task(request: StartWorkflowRequest, limits: Limits) -> None:
    """When the first task is due: at a tick of a schedule or after a delay, not both, as in Temporal."""
    delay = request.start_delay
    if delay is not None and not timedelta(0) <= delay <= limits.start_delay_max:
        message = f"start_delay must be from 0 to {limits.start_delay_max.days} days"
        raise ServiceError(Code.INVALID_ARGUMENT, message)
    if not request.cron_schedule:
        return
    if delay:
        message = "cron_schedule and start_delay cannot be combined: the first run waits for its tick"
        raise ServiceError(Code.INVALID_ARGUMENT, message)
    wrong = refusal(request.cron_schedule)
    if wrong:
        raise ServiceError(Code.INVALID_ARGUMENT, wrong)


def _check_properties(request: StartWorkflowRequest, limits: Limits) -> None:
    if request.memo:
        wrong = wrong_memo(request.memo, limits)
        if wrong is not None:
            too_large = wrong.startswith(Code.PAYLOAD_TOO_LARGE)
            raise ServiceError(Code.PAYLOAD_TOO_LARGE if too_large else Code.INVALID_ARGUMENT, wrong)
    if request.search_attributes:
        wrong = wrong_attributes(request.search_attributes, limits)
        if wrong is not None:
            raise ServiceError(Code.INVALID_ARGUMENT, wrong)


def _check_text(name: str, text: str, bytes_max: int) -> None:
    wrong = wrong_text(name, text, bytes_max)
    if wrong is not None:
        raise ServiceError(Code.INVALID_ARGUMENT, wrong)


def _check_positive(name: str, value: timedelta | None) -> None:
    if value is not None and value.total_seconds() <= 0:
        raise ServiceError(Code.INVALID_ARGUMENT, f"{name} must be positive")
