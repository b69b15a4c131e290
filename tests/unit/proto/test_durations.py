"""Durations are read and written as people write them."""

from datetime import timedelta

import pytest

from perdure_proto.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (10, "10s"),
        (300, "5m"),
        (5400, "1h30m"),
        (0.25, "250ms"),
        (172_800, "2d"),
        (1.5, "1.5s"),
        (0, "0"),
        (10, " 10S "),
    ],
)
def test_durations_are_read(seconds: float, text: str) -> None:
    """A number with its unit is a duration."""
    assert timedelta(seconds=seconds) == parse_duration(text)


@pytest.mark.parametrize("text", ["", "10", "ten", "10 s", "-5s", "5m-", "1h30", "s", "10ss"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A text without a unit, or with anything else, is refused with an example."""
    with pytest.raises(ValueError, match="such as 10s"):
        parse_duration(text)


def test_an_endless_duration_is_refused() -> None:
    """What no timedelta can hold is refused as such."""
    with pytest.raises(ValueError, match="longer than"):
        parse_duration("99999999999999d")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("12.3ms", 0.0123),
        ("2.5s", 2.5),
        ("59s", 59),
        ("1m", 60),
        ("1h1m", 3661),
        ("3d", 259_200),
        ("-5s", -5),
    ],
)
def test_durations_are_written(text: str, seconds: float) -> None:
    """At most two units say how long it is."""
    assert text == format_duration(timedelta(seconds=seconds))
