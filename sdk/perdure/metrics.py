"""Metrics that users' code records: `workflow.metric_meter()` and `activity.metric_meter()`, given out by a client.

`Client.connect(metric_meter=…)` says where they go; without one they go nowhere. What a workflow records is recorded
once, however often it is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Literal, Protocol

__all__ = [
    "MetricAttributes",
    "MetricCounter",
    "MetricGauge",
    "MetricHistogram",
    "MetricHistogramTimedelta",
    "MetricKind",
    "MetricMeter",
    "MetricSink",
    "Record",
]

MetricAttributes = Mapping[str, str | int | float | bool]
"""What a value belongs to."""

MetricKind = Literal["counter", "histogram", "gauge"]
"""What an instrument does with its values."""

Record = Callable[[int | float, MetricAttributes], None]
"""Takes a value and what it belongs to."""


class MetricSink(Protocol):
    """Where values go. `perdure.contrib.opentelemetry.OpenTelemetrySink` is one."""

    def instrument(self, kind: MetricKind, name: str, description: str, unit: str) -> Record:
        """What takes the values of one instrument; asked again for the same name it may give the same."""
        ...


class _Nowhere:
    def instrument(self, kind: MetricKind, name: str, description: str, unit: str) -> Record:
        _ = kind, name, description, unit
        return lambda _value, _attributes: None


class _Instrument:
    def __init__(self, record: Record, attributes: MetricAttributes) -> None:
        self._record = record
        self._attributes = attributes

    def _take(self, value: float, attributes: MetricAttributes | None) -> None:
        self._record(value, {**self._attributes, **attributes} if attributes else self._attributes)


class MetricCounter(_Instrument):
    """A number that grows."""

    def add(self, value: float, additional_attributes: MetricAttributes | None = None) -> None:
        """Adds so much. Raises `ValueError` for a negative number."""
        if value < 0:
            raise ValueError(f"a counter only grows: {value} is negative")
        self._take(value, additional_attributes)


class MetricHistogram(_Instrument):
    """How values are spread."""

    def record(self, value: float, additional_attributes: MetricAttributes | None = None) -> None:
        """One value. Raises `ValueError` for a negative number."""
        if value < 0:
            raise ValueError(f"a histogram takes no negative values: {value}")
        self._take(value, additional_attributes)


class MetricHistogramTimedelta(_Instrument):
    """How durations are spread, in seconds."""

    def record(self, value: timedelta, additional_attributes: MetricAttributes | None = None) -> None:
        """One duration. Raises `ValueError` for a negative one."""
        if value < timedelta(0):
            raise ValueError(f"a histogram takes no negative values: {value}")
        self._take(value.total_seconds(), additional_attributes)


class MetricGauge(_Instrument):
    """A number as it is now."""

    def set(self, value: float, additional_attributes: MetricAttributes | None = None) -> None:
        """It is this much."""
        self._take(value, additional_attributes)


class MetricMeter:
    """Makes instruments. Names, descriptions and units are as in OpenTelemetry.

    Args:
        sink: where values go. Default None: nowhere.
        attributes: what every value belongs to. Default nothing.

    Example:
        >>> MetricMeter().create_counter("orders").add(1, {"kind": "gift"})
    """

    def __init__(self, sink: MetricSink | None = None, attributes: MetricAttributes | None = None) -> None:
        self.sink: MetricSink = sink or _Nowhere()
        self.attributes: MetricAttributes = dict(attributes or {})

    def create_counter(self, name: str, description: str | None = None, unit: str | None = None) -> MetricCounter:
        """A counter. Raises `ValueError` without a name, as the others do."""
        return MetricCounter(self._made("counter", name, description, unit), self.attributes)

    def create_histogram(self, name: str, description: str | None = None, unit: str | None = None) -> MetricHistogram:
        """A histogram of whole numbers."""
        return MetricHistogram(self._made("histogram", name, description, unit), self.attributes)

    def create_histogram_float(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogram:
        """A histogram of numbers."""
        return MetricHistogram(self._made("histogram", name, description, unit), self.attributes)

    def create_histogram_timedelta(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogramTimedelta:
        """A histogram of durations. The unit is seconds by default."""
        return MetricHistogramTimedelta(self._made("histogram", name, description, unit or "s"), self.attributes)

    def create_gauge(self, name: str, description: str | None = None, unit: str | None = None) -> MetricGauge:
        """A gauge of whole numbers."""
        return MetricGauge(self._made("gauge", name, description, unit), self.attributes)

    def create_gauge_float(self, name: str, description: str | None = None, unit: str | None = None) -> MetricGauge:
        """A gauge of numbers."""
        return MetricGauge(self._made("gauge", name, description, unit), self.attributes)

    def with_additional_attributes(self, additional_attributes: MetricAttributes) -> MetricMeter:
        """The same meter, whose values belong to these too."""
        return MetricMeter(self.sink, {**self.attributes, **additional_attributes})

    def _made(self, kind: MetricKind, name: str, description: str | None, unit: str | None) -> Record:
        if not name:
            raise ValueError(f"a {kind} has a name")
        return self.sink.instrument(kind, name, description or "", unit or "")
