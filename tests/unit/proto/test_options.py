"""Retry policies: what is valid, and the ones that have names."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure_proto.options import NAMED_RETRY_POLICIES, RetryPolicy

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (RetryPolicy(initial_interval=timedelta(0)), "initial_interval"),
        (RetryPolicy(initial_interval=-SECOND), "initial_interval"),
        (RetryPolicy(backoff_coefficient=0.99), "backoff_coefficient"),
        (RetryPolicy(maximum_interval=timedelta(milliseconds=999)), "maximum_interval"),
        (RetryPolicy(maximum_attempts=-1), "maximum_attempts"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(policy: RetryPolicy, field: str) -> None:
    """The refusal begins with the field that is wrong."""
    refusal = policy.refusal()

    assert refusal is not None
    assert refusal.startswith(f"{field} must")


@pytest.mark.parametrize(
    "policy",
    [
        RetryPolicy(),
        RetryPolicy(backoff_coefficient=1),
        RetryPolicy(maximum_interval=SECOND),
        RetryPolicy(maximum_attempts=1),
        RetryPolicy(initial_interval=timedelta(microseconds=1)),
    ],
)
def test_a_policy_at_its_bounds_is_valid(policy: RetryPolicy) -> None:
    """Bounds belong to what is allowed."""
    assert policy.refusal() is None


@pytest.mark.parametrize("name", NAMED_RETRY_POLICIES)
def test_named_policies_are_valid(name: str) -> None:
    """Nobody gets a refusal for a policy of ours."""
    assert NAMED_RETRY_POLICIES[name].refusal() is None


@pytest.mark.parametrize(
    ("name", "attempts", "first", "coefficient", "cap"),
    [
        ("none", 1, 1, 2, None),
        ("fast", 3, 0.1, 2, 1),
        ("standard", 5, 1, 2, 30),
        ("aggressive", 10, 0.2, 1.5, 10),
        ("patient", 0, 1, 2, 3600),
    ],
)
def test_what_named_policies_mean(
    name: str, attempts: int, first: float, coefficient: float, cap: float | None
) -> None:
    """A name means the same in every release."""
    policy = NAMED_RETRY_POLICIES[name]

    assert (attempts, timedelta(seconds=first), coefficient) == (
        policy.maximum_attempts,
        policy.initial_interval,
        policy.backoff_coefficient,
    )
    assert (timedelta(seconds=cap) if cap is not None else None) == policy.maximum_interval
