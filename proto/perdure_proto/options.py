"""Options that callers choose and the server keeps: retry policies, id policies, priorities.

Defaults are those of `docs/reference`: first interval 1 s, coefficient 2, maximum interval 100 times the first,
attempts unlimited.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

IdReusePolicy = Literal["allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate"]
IdConflictPolicy = Literal["fail", "use_existing", "terminate_existing"]
CancellationType = Literal["try_cancel", "wait_cancellation_completed", "abandon", "wait_cancellation_requested"]
ParentClosePolicy = Literal["terminate", "abandon", "request_cancel"]
ExecutionStatus = Literal[
    "RUNNING", "COMPLETED", "FAILED", "CANCELED", "TERMINATED", "CONTINUED_AS_NEW", "TIMED_OUT", "PAUSED"
]


PRIORITY_KEY_MAX: Final = 5
"""The least urgent priority; 1 is the most urgent."""
FAIRNESS_KEY_BYTES_MAX: Final = 64
CONCURRENCY_KEY_BYTES_MAX: Final = 255
CONCURRENCY_MAX_MAX: Final = 1_000_000


class RetryPolicy(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How often and how soon a failed attempt is repeated.

    `maximum_attempts` 0 means no limit; `maximum_interval` defaults to 100 times `initial_interval`;
    `non_retryable_error_types` are compared with a failure's type exactly.

    >>> RetryPolicy(maximum_attempts=3).backoff_coefficient
    2.0
    """

    initial_interval: timedelta = timedelta(seconds=1)
    backoff_coefficient: float = 2.0
    maximum_interval: timedelta | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: tuple[str, ...] = ()

    def refusal(self) -> str | None:
        """Why this policy is not valid, or None."""
        if self.initial_interval <= timedelta(0):
            return "initial_interval must be positive"
        if self.backoff_coefficient < 1:
            return "backoff_coefficient must be at least 1"
        if self.maximum_interval is not None and self.maximum_interval < self.initial_interval:
            return "maximum_interval must not be less than initial_interval"
        if self.maximum_attempts < 0:
            return "maximum_attempts must not be negative"
        return None


NAMED_RETRY_POLICIES: Mapping[str, RetryPolicy] = MappingProxyType(
    {
        "none": RetryPolicy(maximum_attempts=1),
        "fast": RetryPolicy(
            maximum_attempts=3, initial_interval=timedelta(seconds=0.1), maximum_interval=timedelta(seconds=1)
        ),
        "standard": RetryPolicy(maximum_attempts=5, maximum_interval=timedelta(seconds=30)),
        "aggressive": RetryPolicy(
            maximum_attempts=10,
            initial_interval=timedelta(seconds=0.2),
            backoff_coefficient=1.5,
            maximum_interval=timedelta(seconds=10),
        ),
        "patient": RetryPolicy(maximum_interval=timedelta(hours=1)),
    }
)


class Priority(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Which task goes first: `priority_key` 1 (first) to 5, then fairness keys by weight.

    What is left out (0, "", 0.0) is taken from the workflow, and where that says nothing is 3, no key, weight 1. Tasks
    of one fairness key, of at most 64 bytes, share a turn: a key with weight 2 gets two turns for each one of weight 1.
    Weights count between 0.001 and 1000.

    >>> Priority(fairness_key="tenant-7").over(Priority(priority_key=1))
    Priority(priority_key=1, fairness_key='tenant-7', fairness_weight=0.0)
    """

    priority_key: int = 0
    fairness_key: str = ""
    fairness_weight: float = 0.0

    def over(self, inherited: Priority | None) -> Priority:
        """What this leaves out is taken from what is inherited."""
        if inherited is None:
            return self
        return Priority(
            priority_key=self.priority_key or inherited.priority_key,
            fairness_key=self.fairness_key or inherited.fairness_key,
            fairness_weight=self.fairness_weight or inherited.fairness_weight,
        )

    def refusal(self) -> str | None:
        """Why this priority is not valid, or None."""
        if not 0 <= self.priority_key <= PRIORITY_KEY_MAX:
            return f"priority_key must be between 1 and {PRIORITY_KEY_MAX}, not {self.priority_key}"
        if len(self.fairness_key.encode(errors="replace")) > FAIRNESS_KEY_BYTES_MAX:
            return f"fairness_key must have at most {FAIRNESS_KEY_BYTES_MAX} bytes"
        if not self.fairness_key.isprintable():
            return "fairness_key must have no control characters"
        if not 0 <= self.fairness_weight < float("inf"):
            return f"fairness_weight must be a positive number, not {self.fairness_weight}"
        return None


def concurrency_refusal(key: str, concurrency_max: int | None) -> str | None:
    """Why a limit of how many run at once is not valid, or None. A limit without a key is one by type.

    >>> concurrency_refusal("tenant-7", 3), concurrency_refusal("", None)
    (None, None)
    >>> concurrency_refusal("tenant-7", None)
    'concurrency_key is given without concurrency_max: say how many may run at once'
    """
    if concurrency_max is None:
        return "concurrency_key is given without concurrency_max: say how many may run at once" if key else None
    if not 1 <= concurrency_max <= CONCURRENCY_MAX_MAX:
        return f"concurrency_max must be between 1 and {CONCURRENCY_MAX_MAX}, not {concurrency_max}"
    if len(key.encode(errors="replace")) > CONCURRENCY_KEY_BYTES_MAX:
        return f"concurrency_key must have at most {CONCURRENCY_KEY_BYTES_MAX} bytes"
    if not key.isprintable():
        return "concurrency_key must have no control characters"
    return None


def merged_priority(own: Priority | None, inherited: Priority | None) -> Priority | None:
    """A task's own priority over what its workflow has."""
    return inherited if own is None else own.over(inherited)
