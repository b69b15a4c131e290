"""Joining encoded arrays, and what is said of requests that cannot be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_proto.codec import decode_commands, decode_events, decode_request, encode_events, encoder, join_arrays
from perdure_proto.commands import CancelTimer, RejectUpdate
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import AnyEvent, TimerFired
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_proto.service import CancelWorkflowRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
requests = msgspec.json.Decoder(CancelWorkflowRequest)


def fired(event_id: int) -> TimerFired:
    return TimerFired(event_id=event_id, event_time=NOW, timer_id="t", started_event_id=1)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ([], b"[]"),
        ([b"[]"], b"[]"),
        ([b"[]", b"[]"], b"[]"),
        ([b"[1]"], b"[1]"),
        ([b"[]", b"[1,2]", b"[]", b"[[]]"], b"[1,2,[]]"),
    ],
)
def test_joined_arrays(arrays: list[bytes], expected: bytes) -> None:
    """Empty arrays leave no trace, also at the ends."""
    assert expected == join_arrays(arrays)


@given(st.lists(st.lists(st.integers() | st.text() | st.lists(st.none(), max_size=2), max_size=3), max_size=4))
def test_joining_is_concatenation(arrays: list[list[object]]) -> None:
    """Joined text is the text of the concatenated lists."""
    encoded = [encoder.encode(array) for array in arrays]

    assert [one for array in arrays for one in array] == json.loads(join_arrays(encoded))


def test_rows_of_the_log_are_joined_undecoded() -> None:
    """Events of several rows are decoded as one history."""
    rows: list[list[AnyEvent]] = [[fired(5), fired(6)], [], [fired(7)]]

    joined = join_arrays(encode_events(row) for row in rows)

    assert [fired(5), fired(6), fired(7)] == decode_events(joined)


def test_commands_are_told_by_their_tag() -> None:
    """A list of commands keeps its order and its types."""
    commands = [
        CancelTimer(timer_id="t"),
        RejectUpdate(update_id="u", failure=Failure(message="no", info=ApplicationFailure(type="ValueError"))),
    ]

    assert commands == decode_commands(encoder.encode(commands))


def test_decimals_are_text() -> None:
    """A decimal keeps every digit."""
    assert b'"1.10"' == encoder.encode(Decimal("1.10"))


def test_a_request_that_fits_is_read() -> None:
    """A body is read as its Struct."""
    assert CancelWorkflowRequest(reason="why") == decode_request(requests, b'{"reason":"why"}')


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", Code.MALFORMED_JSON, "not valid JSON"),
        (b"{", Code.MALFORMED_JSON, "not valid JSON"),
        (b'{"reason":"\xff"}', Code.MALFORMED_JSON, "not valid JSON"),
        (b"[]", Code.INVALID_ARGUMENT, "Expected `object`"),
        (b'{"reason":7}', Code.INVALID_ARGUMENT, r"\$.reason"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(body: bytes, code: Code, said: str) -> None:
    """A refusal says whether it is the JSON or the field, and which."""
    with pytest.raises(ServiceError, match=said) as refused:
        decode_request(requests, body)

    assert (code, 400) == (refused.value.code, refused.value.status)


def test_an_event_of_an_unknown_type_is_refused() -> None:
    """A log that holds what this release does not know is not read half."""
    with pytest.raises(msgspec.ValidationError, match="of_tomorrow"):
        decode_events(b'[{"event_type":"of_tomorrow"}]')
