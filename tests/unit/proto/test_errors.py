"""Codes of errors, and errors as they cross the wire."""

from __future__ import annotations

import msgspec
import pytest

from perdure_proto.codec import encoder
from perdure_proto.errors import RETRYABLE, STATUS, Code, ErrorBody, ServiceError


def test_every_code_has_a_status() -> None:
    """No code is without an HTTP status, and no status without a code."""
    assert set(Code) == set(STATUS)


@pytest.mark.parametrize("code", Code)
def test_a_status_is_an_error(code: Code) -> None:
    """An error is never answered with success or a redirection."""
    assert 400 <= STATUS[code] < 600


@pytest.mark.parametrize("code", Code)
def test_a_code_is_its_name(code: Code) -> None:
    """What crosses the wire is what the code is called."""
    assert code.name == code.value


def test_what_clients_repeat() -> None:
    """Clients repeat what another try can cure, and nothing else."""
    assert {Code.UNAVAILABLE, Code.WRONG_OWNER, Code.RESOURCE_EXHAUSTED} == RETRYABLE


def test_an_error_tells_what_it_knows() -> None:
    """An error carries its code, its status, its message and its details, and says the message."""
    error = ServiceError(Code.WORKFLOW_NOT_FOUND, "no workflow 'x'", workflow_id="x")

    assert (Code.WORKFLOW_NOT_FOUND, 404, "no workflow 'x'") == (error.code, error.status, str(error))
    assert {"workflow_id": "x"} == error.details


def test_an_error_crosses_the_wire() -> None:
    """A body is read as it was written."""
    body = ServiceError(Code.HISTORY_LIMIT, "too long", limit=50_000).body()

    text = encoder.encode(body)

    assert b'{"code":"HISTORY_LIMIT","message":"too long","details":{"limit":50000}}' == text
    assert body == msgspec.json.decode(text, type=ErrorBody)


def test_empty_details_are_left_out() -> None:
    """An error that knows no details is no longer than its code and message."""
    body = ServiceError(Code.INTERNAL, "oops").body()

    assert b'{"code":"INTERNAL","message":"oops"}' == encoder.encode(body)
