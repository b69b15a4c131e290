"""What workflow code records as metrics: once, and outside of the guard, for a sink may do I/O and read clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure._runtime import current
from perdure.metrics import MetricAttributes, MetricKind, MetricSink, Record
from perdure_worker.guard.seam import Suspension

if TYPE_CHECKING:
    from perdure_worker.run import Run


class OnceRecorded:
    """The sink of one run: what is replayed, or asked by a query or a validator, was recorded or is not to be."""

    def __init__(self, run: Run, sink: MetricSink) -> None:
        self._run = run
        self._sink = sink

    def instrument(self, kind: MetricKind, name: str, description: str, unit: str) -> Record:
        run = self._run
        with Suspension(current):
            record = self._sink.instrument(kind, name, description, unit)

        def once(value: float, attributes: MetricAttributes) -> None:
            if run.replaying or run.read_only or run.gone:
                return
            with Suspension(current):
                record(value, attributes)

        return once
