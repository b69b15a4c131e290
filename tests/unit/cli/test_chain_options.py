"""`perdure workflow start` with a schedule, a delay, a retry policy, priorities and pairs of keys and values."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from perdure.cli.exits import Exit
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_proto.options import RetryPolicy
from perdure_proto.service import DescribeWorkflowAnswer, PendingWorkflowTask, StartWorkflowAnswer
from tests.unit.cli.conftest import Perdure
from tests.unit.cli.fake_service import FakeService
from tests.unit.cli.test_workflow_commands import INFO, ORDER

STARTED = StartWorkflowAnswer(workflow_id="order-1", run_id="run-1")


def asked(perdure: Perdure, service: FakeService, *words: str) -> Any:
    """The body of the request that a start with these words makes."""
    service.answer("POST", ORDER, STARTED)
    outcome = perdure("workflow", "start", "order", "--id", "order-1", *words)
    assert (Exit.DONE, "") == (outcome.status, outcome.err)
    return service.last(ORDER).body


def test_a_schedule_and_a_delay(perdure: Perdure, service: FakeService) -> None:
    """They go to the service as they are: it says what is wrong with them."""
    assert "CRON_TZ=Europe/Oslo 0 9 * * *" == asked(perdure, service, "--cron", "CRON_TZ=Europe/Oslo 0 9 * * *").get(
        "cron_schedule"
    )
    assert "PT90S" == asked(perdure, service, "--start-delay", "1m30s").get("start_delay")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--retry none", RetryPolicy(maximum_attempts=1)),
        ("--retry-maximum-attempts 3", RetryPolicy(maximum_attempts=3)),
        (
            "--retry standard --retry-maximum-attempts 2 --retry-non-retryable A --retry-non-retryable B",
            RetryPolicy(
                maximum_attempts=2, maximum_interval=timedelta(seconds=30), non_retryable_error_types=("A", "B")
            ),
        ),
        (
            "--retry-initial-interval 100ms --retry-backoff-coefficient 1.5 --retry-maximum-interval 1m",
            RetryPolicy(
                initial_interval=timedelta(seconds=0.1),
                backoff_coefficient=1.5,
                maximum_interval=timedelta(minutes=1),
            ),
        ),
    ],
)
def test_a_retry_policy(perdure: Perdure, service: FakeService, words: str, expected: RetryPolicy) -> None:
    """By name, by its parts, or both."""
    body = asked(perdure, service, *words.split())
    assert expected == msgspec.convert(body.get("retry_policy", {}), RetryPolicy)


def test_without_options_there_is_no_policy(perdure: Perdure, service: FakeService) -> None:
    """A workflow that fails is then not run again."""
    assert set() == {"retry_policy", "cron_schedule", "start_delay", "priority"} & asked(perdure, service).keys()


def test_a_policy_that_is_not_valid(perdure: Perdure, service: FakeService) -> None:
    """It is refused before the service is asked to start anything."""
    words = ("--retry-initial-interval", "10s", "--retry-maximum-interval", "1s")
    outcome = perdure("workflow", "start", "order", *words)
    assert Exit.USAGE == outcome.status
    assert "maximum_interval must not be less than initial_interval" in outcome.err
    assert "POST" not in {each.method for each in service.asked}


def test_priority_and_details(perdure: Perdure, service: FakeService) -> None:
    """Which tasks go first, and what people read."""
    words = ("--priority-key", "1", "--fairness-key", "acme", "--fairness-weight", "2.5", "--static-details", "*more*")
    body = asked(perdure, service, *words, "--static-summary", "one line")
    assert {"priority_key": 1, "fairness_key": "acme", "fairness_weight": 2.5} == body["priority"]
    assert ("one line", "*more*") == (body["static_summary"], body["static_details"])


def test_pairs_of_keys_and_values(perdure: Perdure, service: FakeService) -> None:
    """One option for each key, or a whole object; a later one goes over an earlier one."""
    words = ("--memo", '{"by": "me", "n": 1}', "--memo", "n=2", "--memo", 'text="a=b"')
    body = asked(perdure, service, *words, "--search-attribute", 'tags=["a", "b"]', "--search-attributes", '{"n": 1}')
    assert {"by": "me", "n": 2, "text": "a=b"} == body["memo"]
    assert {"tags": ["a", "b"], "n": 1} == body["search_attributes"]


@pytest.mark.parametrize(
    ("text", "says"), [("red", "takes KEY=JSON"), ("=1", "takes KEY=JSON"), ("color=red", "is not valid JSON")]
)
def test_a_pair_that_is_none(perdure: Perdure, text: str, says: str) -> None:
    """The message says what would fit."""
    outcome = perdure("workflow", "start", "order", "--memo", text)
    assert (Exit.USAGE, True) == (outcome.status, says in outcome.err)


def test_describe_says_when_a_run_begins(perdure: Perdure, service: FakeService) -> None:
    """The schedule, the next run, the chain and what the run before failed with."""
    begins = INFO.start_time + timedelta(hours=1)
    note = "the first task waits for the next tick of the cron schedule"
    service.answer(
        "GET",
        ORDER,
        DescribeWorkflowAnswer(
            execution=INFO,
            first_execution_run_id="run-0",
            continued_run_id="run-0",
            execution_time=begins,
            cron_schedule="@daily",
            last_failure=Failure(message="boom", info=ApplicationFailure(type="Boom")),
            pending_workflow_task=PendingWorkflowTask(state="BACKING_OFF", next_attempt_time=begins, note=note),
        ),
    )
    told = [" ".join(line.split()) for line in perdure("workflow", "describe", "order-1").out.splitlines()]
    at = begins.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    expected = {
        "cron schedule @daily",
        f"begins {at}",
        "first run run-0",
        "run before run-0",
        "failed before Boom: boom",
        "state BACKING_OFF",
        f"next attempt {at}",
        f"note {note}",
    }
    assert set() == expected - set(told)
