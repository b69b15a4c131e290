"""Exceptions become failures and come back as the same classes, with their causes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from perdure import exceptions
from perdure._failures import CAUSES_MAX, TEXT_MAX, exception_of, failure_of
from perdure.converter import DataConverter
from perdure_proto.errors import Code
from perdure_proto.failures import ActivityFailure, ApplicationFailure, CanceledFailure, Failure

CONVERTER = DataConverter()


def back(error: BaseException) -> exceptions.FailureError:
    return exception_of(failure_of(error, CONVERTER), CONVERTER)


def test_an_application_error_keeps_everything() -> None:
    """Type, details, flags and delay survive."""
    delay = timedelta(seconds=3)
    found = back(exceptions.ApplicationError("no", {"a": 1}, 2, type="T", non_retryable=True, next_retry_delay=delay))
    assert isinstance(found, exceptions.ApplicationError)
    assert ("no", "T", ({"a": 1}, 2), True, delay) == (
        found.message,
        found.type,
        found.details,
        found.non_retryable,
        found.next_retry_delay,
    )


def test_a_foreign_exception_has_its_class_as_type() -> None:
    """Retry policies and callers see the class's name."""
    found = back(KeyError("x"))
    assert isinstance(found, exceptions.ApplicationError)
    assert ("KeyError", "'x'") == (found.type, found.message)


OWN = [
    exceptions.TimeoutError("late", type="HEARTBEAT", last_heartbeat_details=(1,)),
    exceptions.CancelledError("stop", "why"),
    exceptions.TerminatedError("gone"),
    exceptions.ServerError("lost", code="WORKER_LOST", non_retryable=True),
    exceptions.ActivityError("activity failed"),
    exceptions.ChildWorkflowError("child failed"),
]


@pytest.mark.parametrize("error", OWN, ids=lambda e: type(e).__name__)
def test_every_class_comes_back_as_itself(error: exceptions.FailureError) -> None:
    """Class, message and fields are those that were raised."""
    found = back(error)
    assert type(error) is type(found)
    ignored = {"failure", "retry_state", "__notes__"}
    assert {k: v for k, v in vars(error).items() if k not in ignored} == {
        k: vars(found)[k] for k in vars(error) if k not in ignored
    }


def test_causes_form_a_tree() -> None:
    """Each cause is the failure below, and comes back as `cause`."""
    error = exceptions.ApplicationError("above")
    error.__cause__ = ValueError("below")
    found = back(error)
    assert "ValueError: below" == str(found.cause)


def test_a_circle_of_causes_ends() -> None:
    """Causes are followed only so far."""
    error = ValueError("again")
    error.__cause__ = error
    failure: Failure | None = failure_of(error, CONVERTER)
    depth = 0
    while failure is not None:
        failure, depth = failure.cause, depth + 1
    assert CAUSES_MAX + 1 == depth


def test_a_group_has_its_first_member_as_cause() -> None:
    """What failed in a task group is not hidden by the group."""
    found = back(ExceptionGroup("several", [ValueError("first"), KeyError("second")]))
    assert "ValueError: first" == str(found.cause)


def test_what_was_read_is_passed_on_unchanged() -> None:
    """A failure that is raised again keeps its bytes."""
    failure = Failure(message="m", info=ActivityFailure(scheduled_event_id=5, activity_type="t"))
    error = exception_of(failure, CONVERTER)
    assert isinstance(error, exceptions.ActivityError)
    assert 5 == error.scheduled_event_id
    assert failure is failure_of(error, CONVERTER)


def test_a_cancelled_task_is_a_cancellation() -> None:
    """Python's own cancellation is not an application error."""
    assert isinstance(failure_of(asyncio.CancelledError(), CONVERTER).info, CanceledFailure)


def test_the_stack_is_text_like_pythons() -> None:
    """The stack trace names the line and the error, and is a note of what comes back."""
    try:
        raise ValueError("here")
    except ValueError as error:
        failure = failure_of(error, CONVERTER)
    assert failure.stack_trace.startswith("Traceback (most recent call last):")
    assert 'raise ValueError("here")' in failure.stack_trace
    assert failure.stack_trace.rstrip() in exception_of(failure, CONVERTER).__notes__[0]


def test_text_can_be_stored() -> None:
    """NUL and lone surrogates are escaped, long text is cut."""
    assert r"a\x00\ud800" == failure_of(ValueError("a\0\ud800"), CONVERTER).message
    assert "é\n\t" == failure_of(ValueError("é\n\t"), CONVERTER).message
    assert len(failure_of(ValueError("x" * TEXT_MAX * 2), CONVERTER).message) < TEXT_MAX + 20


def test_details_that_cannot_be_written_become_text() -> None:
    """The error itself is never lost for the sake of its details."""
    failure = failure_of(exceptions.ApplicationError("no", 1j), CONVERTER)
    assert isinstance(failure.info, ApplicationFailure)
    assert ("1j",) == CONVERTER.decode_values(failure.info.details)


def test_cancellations_are_recognised() -> None:
    """A cancelled activity counts as cancelled, a failed one does not."""
    cancelled = exceptions.ActivityError("a")
    cancelled.__cause__ = exceptions.CancelledError()
    assert exceptions.is_cancelled_exception(cancelled)
    assert not exceptions.is_cancelled_exception(exceptions.ActivityError("a"))


def test_a_workflow_failure_shows_its_cause() -> None:
    """The one line that a traceback ends with says what happened."""
    error = exceptions.WorkflowFailureError(cause=exceptions.ApplicationError("no money", type="Declined"))
    assert "Workflow execution failed: ApplicationError: Declined: no money" == str(error)


def test_an_rpc_error_has_the_status_of_its_code() -> None:
    """Code and status agree where only the code is known."""
    assert 404 == exceptions.RPCError("no", code=Code.WORKFLOW_NOT_FOUND).status
