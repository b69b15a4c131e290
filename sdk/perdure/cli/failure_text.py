"""Failures as a Python programmer reads them: tracebacks, the innermost cause first, each link named."""

from __future__ import annotations

from typing import assert_never

from msgspec import Raw

from perdure_proto.failures import (
    ActivityFailure,
    ApplicationFailure,
    CanceledFailure,
    ChildWorkflowFailure,
    Failure,
    ServerFailure,
    TerminatedFailure,
    TimeoutFailure,
)
from perdure_proto.payload import NULL

CAUSE = "The above exception was the direct cause of the following exception:"


def failure_name(failure: Failure) -> str:
    """The name of the exception that a failure stands for."""
    match failure.info:
        case ApplicationFailure(type=type):
            return type or "ApplicationError"
        case TimeoutFailure():
            return "TimeoutError"
        case CanceledFailure():
            return "CancelledError"
        case TerminatedFailure():
            return "TerminatedError"
        case ServerFailure(code=code):
            return code or "ServerError"
        case ActivityFailure():
            return "ActivityError"
        case ChildWorkflowFailure():
            return "ChildWorkflowError"
        case _:
            assert_never(failure.info)


def failure_line(failure: Failure) -> str:
    """The chain on one line, outermost first."""
    links: list[str] = []
    link: Failure | None = failure
    while link is not None:
        links.append(f"{failure_name(link)}: {_said(link)}".rstrip(": "))
        link = link.cause
    return " ← ".join(links)


def failure_text(failure: Failure) -> str:
    """The chain as Python prints one: causes first."""
    chain: list[Failure] = []
    link: Failure | None = failure
    while link is not None:
        chain.append(link)
        link = link.cause
    return f"\n\n{CAUSE}\n\n".join(_one(link) for link in reversed(chain))


def _one(failure: Failure) -> str:
    title = f"{failure_name(failure)}: {_said(failure)}".rstrip(": ")
    details = _details(failure)
    note = f"\n  details: {bytes(details).decode('utf-8', 'replace')}" if bytes(details) not in (b"null", b"[]") else ""
    trace = failure.stack_trace.rstrip()
    if not trace:
        return title + note
    # A formatted traceback already ends with the exception's own line.
    complete = not trace.splitlines()[-1].startswith(" ")
    return (trace if complete else f"{trace}\n{title}") + note


def _said(failure: Failure) -> str:
    match failure.info:
        case ActivityFailure() as info:
            return failure.message or f"activity {info.activity_type} failed ({info.retry_state})"
        case ChildWorkflowFailure() as info:
            return failure.message or f"child workflow {info.workflow_type} failed ({info.retry_state})"
        case TimeoutFailure() as info:
            return failure.message or info.timeout_type
        case _:
            return failure.message


def _details(failure: Failure) -> Raw:
    match failure.info:
        case ApplicationFailure(details=details, encoding="") | CanceledFailure(details=details, encoding=""):
            return details
        case _:
            return NULL
