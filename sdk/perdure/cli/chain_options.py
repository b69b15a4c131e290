"""Options of a start that concern the chain of runs: when the first begins, and when another follows."""

from __future__ import annotations

from typing import Any, Final

import click
from msgspec import structs

from perdure.cli.exits import usage_error
from perdure.cli.settings import DURATION, Decorated
from perdure_proto.options import NAMED_RETRY_POLICIES, Priority, RetryPolicy

_RETRY_FIELDS: Final = {
    "retry_initial_interval": "initial_interval",
    "retry_backoff_coefficient": "backoff_coefficient",
    "retry_maximum_interval": "maximum_interval",
    "retry_maximum_attempts": "maximum_attempts",
    "retry_non_retryable": "non_retryable_error_types",
}
"""Options, and the fields of a policy that they set."""


_ATTEMPT_OPTIONS = (
    click.option("--fairness-weight", type=click.FloatRange(0), help="The share of this fairness key."),
    click.option("--fairness-key", default="", help="Tasks of different keys take turns."),
    click.option("--priority-key", type=click.IntRange(1, 5), help="Which tasks go first: 1 to 5, 1 before 5."),
    click.option("--static-details", default="", metavar="MARKDOWN", help="More about this execution."),
    click.option("--retry-non-retryable", multiple=True, metavar="TYPE", help="An error type that ends the retries."),
    click.option("--retry-maximum-attempts", type=click.IntRange(0), help="Runs at most; 0 is no limit."),
    click.option("--retry-maximum-interval", type=DURATION, help="The longest wait between two runs."),
    click.option("--retry-backoff-coefficient", type=click.FloatRange(1), help="How the wait grows from run to run."),
    click.option("--retry-initial-interval", type=DURATION, help="The wait after the first failure."),
    click.option(
        "--retry",
        "retry_policy",
        type=click.Choice(list(NAMED_RETRY_POLICIES)),
        help="Run again when it fails, by a named policy; the options below change it.",
    ),
)


def attempt_options(function: Decorated) -> Decorated:
    """`--retry…`, priority and details: of whatever is tried again."""
    for decorate in _ATTEMPT_OPTIONS:
        function = decorate(function)
    return function


def attempt_fields(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of the request that these options give."""
    return {
        "retry_policy": _retry_policy(values),
        "priority": _priority(values),
        "static_details": values["static_details"],
    }


def chain_options(function: Decorated) -> Decorated:
    """`--cron`, `--start-delay`, `--retry…` and what else a run hands on to the next."""
    for decorate in (
        *_ATTEMPT_OPTIONS,
        click.option("--start-delay", type=DURATION, help="Wait before the first run; a signal or an update ends it."),
        click.option(
            "--cron",
            "cron_schedule",
            default="",
            metavar="SCHEDULE",
            help="Run again and again: '0 9 * * mon-fri', @daily, '@every 5m', 'CRON_TZ=Europe/Oslo 0 9 * * *'.",
        ),
    ):
        function = decorate(function)
    return function


def chain_fields(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of the request that these options give."""
    return {
        "cron_schedule": values["cron_schedule"],
        "start_delay": values["start_delay"],
        **attempt_fields(values),
    }


def _retry_policy(values: dict[str, Any]) -> RetryPolicy | None:
    given = {field: values[name] for name, field in _RETRY_FIELDS.items() if values[name] not in (None, ())}
    name = values["retry_policy"]
    if name is None and not given:
        return None
    policy = structs.replace(NAMED_RETRY_POLICIES[name] if name else RetryPolicy(), **given)
    wrong = policy.refusal()
    if wrong is not None:
        raise usage_error(f"the retry policy is not valid: {wrong}")
    return policy


def _priority(values: dict[str, Any]) -> Priority | None:
    priority = Priority(
        priority_key=values["priority_key"] or 0,
        fairness_key=values["fairness_key"],
        fairness_weight=values["fairness_weight"] or 0.0,
    )
    return None if priority == Priority() else priority
