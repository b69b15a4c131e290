"""Metrics of users' code: each value once, cached or replayed from the start, with what it belongs to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from perdure import Client
from perdure.metrics import MetricAttributes, MetricKind, MetricMeter, Record
from perdure_worker import Worker
from tests.integration.audit import audit
from tests.integration.model.stack import Stack, served
from tests.postgres import fresh_database
from tests.programs import model_metrics as program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

WORKFLOW = {"service": "shop", "namespace": "default", "task_queue": "default", "workflow_type": "counts"}
ACTIVITY = {"service": "shop", "namespace": "default", "task_queue": "default", "activity_type": "works"}


class Value(NamedTuple):
    name: str
    value: float
    attributes: MetricAttributes


class Kept:
    """A sink that keeps all it gets."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.made: set[tuple[MetricKind, str, str, str]] = set()

    def instrument(self, kind: MetricKind, name: str, description: str, unit: str) -> Record:
        self.made.add((kind, name, description, unit))
        return lambda value, attributes: self.values.append(Value(name, value, attributes))

    def of(self, name: str) -> list[Value]:
        return [value for value in self.values if value.name == name]


class Metered(NamedTuple):
    stack: Stack
    kept: Kept


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def metered(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Metered]:
    kept = Kept()
    meter = MetricMeter(kept, {"service": "shop"})
    async with fresh_database(postgres, template=migrated_template) as dsn:
        async with served(dsn) as address, await Client.connect(address, metric_meter=meter) as client:
            cached: int = request.param
            async with Worker(
                client, workflows=program.WORKFLOWS, activities=program.ACTIVITIES, max_cached_workflows=cached
            ):
                yield Metered(Stack(client, dsn, "default", cached), kept)
        assert await audit(dsn, program.WORKFLOWS)


async def test_values_are_recorded_once(metered: Metered) -> None:
    """Of the workflow, of its activities and its local ones; what a query records is not."""
    metered.kept.values.clear()
    handle = await metered.stack.client.start_workflow(program.counts, 3)
    assert 3 == await handle.result()
    assert 3 == await handle.query(program.seen)
    kept = metered.kept
    assert [Value("turns", 1, WORKFLOW | {"even": even}) for even in (True, False, True)] == kept.of("turns")
    assert [Value("rows", rows, ACTIVITY) for rows in (0, 100, 1, 101, 2, 102)] == kept.of("rows")
    assert [Value("took", 1.5, WORKFLOW)] == kept.of("took")
    assert [Value("level", -3, WORKFLOW | {"last": True})] == kept.of("level")
    assert {
        ("counter", "turns", "how often", "1"),
        ("histogram", "rows", "", ""),
        ("histogram", "took", "", "s"),
        ("gauge", "level", "", ""),
    } == kept.made
