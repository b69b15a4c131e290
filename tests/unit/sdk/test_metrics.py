"""Meters: what they refuse, and how their values reach OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from perdure import activity
from perdure.contrib.opentelemetry import OpenTelemetrySink
from perdure.metrics import MetricMeter

METER = MetricMeter()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: METER.create_counter(""),
        lambda: METER.create_counter("n").add(-1),
        lambda: METER.create_histogram("n").record(-1),
        lambda: METER.create_histogram_float("n").record(-0.5),
        lambda: METER.create_histogram_timedelta("n").record(timedelta(seconds=-1)),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Callable[[], object]) -> None:
    """An instrument without a name, and values that such an instrument cannot have."""
    with pytest.raises(ValueError, match=r"name|negative"):
        wrong()


def test_a_meter_without_a_sink_takes_everything() -> None:
    """Code that records runs also where nobody listens."""
    METER.create_counter("n").add(1, {"a": 1})
    METER.create_gauge_float("n").set(-1.5)


def test_a_meter_outside_of_an_activity_says_so() -> None:
    """The client's meter belongs to its workers."""
    with pytest.raises(RuntimeError, match="inside a running activity"):
        activity.metric_meter()


def test_values_reach_opentelemetry() -> None:
    """Counters, histograms and gauges keep their kind, unit and attributes; a name is made once."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    meter = MetricMeter(OpenTelemetrySink(provider.get_meter("test")), {"service": "shop"})
    for _ in range(2):
        meter.create_counter("orders", "how many", "1").add(2, {"kind": "gift"})
    meter.create_histogram_timedelta("took").record(timedelta(seconds=2))
    meter.create_gauge("level").set(7)
    data = reader.get_metrics_data()
    assert data is not None
    found = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    (orders,) = found["orders"].data.data_points
    (took,), (level,) = found["took"].data.data_points, found["level"].data.data_points
    assert (4, {"service": "shop", "kind": "gift"}) == (getattr(orders, "value", 0), orders.attributes)
    assert (2.0, "s", 7) == (getattr(took, "sum", 0), found["took"].unit, getattr(level, "value", 0))
    provider.shutdown()
