"""How long to wait before a repeat, as a header or an error's details say it."""

from __future__ import annotations

import pytest

from perdure._retry_after import asked_seconds, pause, seconds_in

NOON = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT."""


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", 120.0),
        (" 3 ", 3.0),
        ("0", 0.0),
        ("Sun, 06 Nov 1994 08:49:57 GMT", 20.0),
        ("Sunday, 06-Nov-94 08:49:57 GMT", 20.0),
        ("Sun Nov  6 08:49:57 1994", 20.0),
        ("Sun, 06 Nov 1994 08:49:07 GMT", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("9" * 400, 0.0),
    ],
)
def test_a_header_says_seconds_or_a_date(header: str, expected: float) -> None:
    """Whole seconds and all three forms of HTTP dates are understood; anything else asks for nothing."""
    assert expected == seconds_in(header, NOON)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2, 2.0), (0.5, 0.5), (-1, 0.0), (True, 0.0), ("2", 0.0), (None, 0.0), (float("inf"), 0.0), (float("nan"), 0.0)],
)
def test_details_say_seconds(value: object, expected: float) -> None:
    """A positive number is taken, anything else asks for nothing."""
    assert expected == asked_seconds({"retry_after": value})


def test_a_pause_is_no_shorter_than_was_asked() -> None:
    """It grows with chance and with the backoff, from what was asked."""
    assert (2.0, 3.25) == (pause(0.0, 2.0, chance=0.0), pause(0.25, 2.0, chance=1.0))
    assert 0.25 == pause(0.25, 0.0)
