"""Options of calls, declared once as TypedDicts and unpacked wherever they are taken, and the checks on them.

Durations are `timedelta`. A retry policy may be given by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, get_args

from perdure_proto.options import (
    NAMED_RETRY_POLICIES,
    IdConflictPolicy,
    IdReusePolicy,
    ParentClosePolicy,
    Priority,
    RetryPolicy,
    concurrency_refusal,
)

if TYPE_CHECKING:
    from perdure._messages import SignalCall

NamedRetryPolicy = Literal["none", "fast", "standard", "aggressive", "patient"]
ActivityCancellationType = Literal["try_cancel", "wait_cancellation_completed", "abandon"]
ChildWorkflowCancellationType = Literal[
    "wait_cancellation_completed", "try_cancel", "abandon", "wait_cancellation_requested"
]
_WAITS: Final = frozenset({"start_delay", "backoff_start_interval"})


class ActivityOptions(TypedDict, total=False):
    """How an activity runs. What is not given is the definition's, then the default."""

    start_to_close_timeout: timedelta | None
    """How long one attempt may take. Default 1 minute where no `schedule_to_close_timeout` is given either."""
    schedule_to_close_timeout: timedelta | None
    """How long all attempts together may take. Default none."""
    schedule_to_start_timeout: timedelta | None
    """How long an attempt may wait for a worker. Default none."""
    heartbeat_timeout: timedelta | None
    """Longest gap between two heartbeats. Default none."""
    retry_policy: RetryPolicy | NamedRetryPolicy | None
    """Default: 1 s, doubling, up to 100 s, for ever."""
    task_queue: str | None
    """Default: the workflow's."""
    activity_id: str | None
    """Default: a number that no other activity of the run has."""
    cancellation_type: ActivityCancellationType
    """What cancelling the call waits for. Default `try_cancel`: nothing."""
    local_retry_threshold: timedelta | None
    """Of a local activity: the longest pause between two attempts that its worker makes itself; a longer one is a
    durable timer. Default: the timeout of a workflow task."""
    summary: str | None
    """One line about this call, for people."""
    priority: Priority | None
    """Default: the workflow's."""
    concurrency_key: str | None
    """Activities of one key share a limit, wherever they run. Default: the activity's type. Only with
    `concurrency_max`."""
    concurrency_max: int | None
    """How many of the key may run at once, in the namespace; further ones wait in order. Default: no limit."""


class StartOptions(TypedDict, total=False):
    """How a workflow is started. Every option has a default."""

    id: str | None
    """Workflow id. Default: a UUID."""
    task_queue: str
    """Default `"default"`."""
    execution_timeout: timedelta | None
    """How long the whole chain of runs may take. Default none."""
    run_timeout: timedelta | None
    """How long one run may take. Default: the execution timeout."""
    task_timeout: timedelta | None
    """How long one workflow task may take. Default 10 s, at most 120 s."""
    retry_policy: RetryPolicy | NamedRetryPolicy | None
    """Default none: a failed workflow is not run again."""
    id_reuse_policy: IdReusePolicy
    """Against a closed workflow of the id. Default `allow_duplicate`."""
    id_conflict_policy: IdConflictPolicy
    """Against a running workflow of the id. Default `fail`."""
    cron_schedule: str
    """Runs it again and again: `0 9 * * mon-fri`, `@daily`, `@every 5m`, or `CRON_TZ=Europe/Oslo 0 9 * * *`.
    Default none."""
    start_delay: timedelta | None
    """How long the first run waits; a signal or an update ends the wait. Not with `cron_schedule`. Default none."""
    memo: Mapping[str, Any]
    """Notes that lists show; JSON values."""
    search_attributes: Mapping[str, Any]
    """What lists filter by: strings, numbers, booleans, datetimes, lists of strings."""
    priority: Priority | None
    request_id: str | None
    """A repeat with the same one gets the first answer. Default: a UUID."""
    start_signal: SignalCall | str | None
    """A signal for the workflow, new or running: `approve(Approval(ok=True))`, or a name. The default of
    `id_conflict_policy` is then `use_existing`. Default none."""
    start_signal_args: Sequence[Any]
    """Arguments of a `start_signal` given by name. Default none."""
    static_summary: str | None
    """One line about the workflow, for people."""
    static_details: str | None
    """Markdown about the workflow, for people."""
    request_eager_start: bool
    """Whether a worker of the same client in this process may take the first task with the answer. Default False."""


class ChildOptions(TypedDict, total=False):
    """How a child workflow is started. Every option has a default; one that is None is as if not given."""

    id: str | None
    """Workflow id. Default: a UUID, of the parent's own chance."""
    namespace: str | None
    """Where it runs. Default: the parent's."""
    task_queue: str | None
    """Default: the parent's."""
    cancellation_type: ChildWorkflowCancellationType
    """What cancelling the call waits for. Default `wait_cancellation_completed`: until the child has closed."""
    parent_close_policy: ParentClosePolicy
    """What becomes of the child when the parent closes first. Default `terminate`."""
    execution_timeout: timedelta | None
    """How long the whole chain of the child's runs may take. Default none."""
    run_timeout: timedelta | None
    """How long one run may take. Default: the execution timeout."""
    task_timeout: timedelta | None
    """How long one workflow task may take. Default 10 s, at most 120 s."""
    id_reuse_policy: IdReusePolicy
    """Against a closed workflow of the id. Default `allow_duplicate`. A running one always makes the start fail."""
    retry_policy: RetryPolicy | NamedRetryPolicy | None
    """Default none: a failed child is not run again."""
    cron_schedule: str
    memo: Mapping[str, Any]
    """Notes that lists show; JSON values."""
    search_attributes: Mapping[str, Any]
    """What lists filter by: strings, numbers, booleans, datetimes, lists of strings."""
    static_summary: str | None
    """One line about the child, for people."""
    static_details: str | None
    """Markdown about the child, for people."""
    priority: Priority | None
    """Default: the parent's."""


class ContinueAsNewOptions(TypedDict, total=False):
    """What the next run has otherwise than this one."""

    task_queue: str | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    retry_policy: RetryPolicy | NamedRetryPolicy | None
    memo: Mapping[str, Any] | None
    search_attributes: Mapping[str, Any] | None
    backoff_start_interval: timedelta | None
    """How long the next run waits before it begins. Default: it begins at once."""


def retry_policy_of(given: RetryPolicy | str | None) -> RetryPolicy | None:
    """A retry policy from itself or its name. Raises `ValueError` for one that is not valid."""
    if isinstance(given, str):
        if given not in NAMED_RETRY_POLICIES:
            raise ValueError(f"no retry policy {given!r}; there are {', '.join(NAMED_RETRY_POLICIES)}")
        return NAMED_RETRY_POLICIES[given]
    if given is not None and (refusal := given.refusal()):
        raise ValueError(f"retry_policy: {refusal}")
    return given


def checked(options: Mapping[str, Any], allowed: type, owner: str) -> dict[str, Any]:
    """Options by name, with retry policies resolved.

    Raises `TypeError` for a name that is not there or a duration that is no `timedelta`, `ValueError` for a value
    out of range.
    """
    found = dict(options)
    for name in found.keys() - allowed.__annotations__.keys():
        raise TypeError(f"{owner} has no option {name!r}; there are {', '.join(allowed.__annotations__)}")
    for name, value in found.items():
        if name.endswith(("_timeout", "_threshold")) and value is not None:
            _check_duration(name, value)
        elif name in _WAITS and value is not None:
            _check_wait(name, value)
    if allowed is ChildOptions:
        _check_choices(found)
    if (priority := found.get("priority")) is not None:
        _check_priority(priority)
    if "retry_policy" in found:
        found["retry_policy"] = retry_policy_of(found["retry_policy"])
    if found.get("concurrency_max") is not None or found.get("concurrency_key"):
        check_concurrency(found)
    return found


def check_concurrency(options: Mapping[str, Any]) -> None:
    """Raises `TypeError` or `ValueError` for a limit of how many run at once that is not valid."""
    key, concurrency_max = options.get("concurrency_key") or "", options.get("concurrency_max")
    if not isinstance(key, str):
        raise TypeError(f"concurrency_key is a str, such as 'tenant-7', not {key!r}")
    if concurrency_max is not None and (isinstance(concurrency_max, bool) or not isinstance(concurrency_max, int)):
        raise TypeError(f"concurrency_max is an int, such as 3, not {concurrency_max!r}")
    if refusal := concurrency_refusal(key, concurrency_max):
        raise ValueError(refusal)


_CHOICES: Final = {
    "cancellation_type": get_args(ChildWorkflowCancellationType),
    "parent_close_policy": get_args(ParentClosePolicy),
    "id_reuse_policy": get_args(IdReusePolicy),
}


def _check_choices(options: Mapping[str, Any]) -> None:
    for name, choices in _CHOICES.items():
        if options.get(name) is not None and options[name] not in choices:
            raise ValueError(f"{name} is one of {', '.join(choices)}, not {options[name]!r}")


def _check_wait(name: str, value: object) -> None:
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} is a timedelta, such as timedelta(minutes=10), not {value!r}")
    if value < timedelta(0):
        raise ValueError(f"{name} must not be negative, as {value} is")


def _check_priority(given: object) -> None:
    if not isinstance(given, Priority):
        raise TypeError(f"priority is a Priority, such as Priority(priority_key=1), not {given!r}")
    try:
        refusal = given.refusal()
    except (TypeError, AttributeError):
        raise TypeError(f"a priority has an int, a str and a number: {given!r}") from None
    if refusal:
        raise ValueError(f"priority: {refusal}")


def _check_duration(name: str, value: object) -> None:
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} is a timedelta, such as timedelta(seconds=10), not {value!r}")
    if value <= timedelta(0):
        raise ValueError(f"{name} must be positive, not {value}")
