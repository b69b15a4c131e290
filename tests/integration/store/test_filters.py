"""List filters: what each part of the grammar finds, in Postgres and the model alike; orders, pages and groups."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest

from perdure_proto.errors import Code, ServiceError
from perdure_server.store.model import ModelStore
from perdure_server.store.port import CommitBatch, Fence, RunChange, Store
from perdure_server.store.postgres import PostgresStore
from tests.integration.store.rows import NOW, SHARD, begin, merge, new_run_id

ATTRIBUTES: list[dict[str, object] | None] = [
    {"City": "Graz", "Amount": 100, "Paid": True, "Tags": ["new", "vip"], "Due": "2026-11-20T10:00:00Z"},
    {"City": "Wien", "Amount": 20.5, "Paid": False, "Tags": ["vip"], "Due": "2026-11-20T10:00:00.500000Z"},
    {"City": "graz%_\\", "Amount": "100", "Paid": 1, "Tags": [], "Due": "2026-11-21T00:00:00Z"},
    {"City": 'a "quoted" one', "two words": "x", "Amount": -3},
    None,
    {"City": "Graz"},
]
"""Of the runs that the tests begin; the even ones stay open, and each starts a minute before the one before it."""


async def begin_all(store: Store, fence: Fence) -> list[str]:
    runs = [new_run_id() for _ in ATTRIBUTES]
    for place, (run, attributes) in enumerate(zip(runs, ATTRIBUTES, strict=True)):
        batch = begin(run, f"order-{place}", at=NOW - timedelta(minutes=place))
        batch.starts[0].search_attributes = None if attributes is None else json.dumps(attributes).encode()
        if place % 2:
            batch = merge(batch, CommitBatch(changes=[RunChange(SHARD, run, 2, NOW + timedelta(hours=place), place)]))
        await store.commit(fence, batch)
    return runs


async def found(store: Store, runs: list[str], query: str) -> list[int]:
    rows, _ = await store.list_executions(1, query, "", 99)
    return [runs.index(row.run_id) for row in rows]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("City = 'Graz'", [0, 5]),
        ("City != 'Graz'", [1, 2, 3]),
        ("NOT City = 'Graz'", [1, 2, 3, 4]),
        ("City IS NULL", [4]),
        ("Amount IS NOT NULL and City is not null", [0, 1, 2, 3]),
        ("Amount > 20", [0, 1]),
        ("Amount >= 20.5 AND Amount < 100", [1]),
        ("Amount BETWEEN -5 AND 21", [1, 3]),
        ("Amount NOT BETWEEN -5 AND 21", [0, 2, 4, 5]),
        ("Amount = '100'", [2]),
        ("Amount IN (100, '100', 7)", [0, 2]),
        ("Paid = true", [0]),
        ("Paid <> TRUE", [1, 2]),
        ("Tags = 'vip'", [0, 1]),
        ("Tags IN ('new', 'old')", [0]),
        ("City STARTS_WITH 'gr'", [2]),
        ("City NOT STARTS_WITH 'G'", [1, 2, 3, 4]),
        (r"City LIKE '%\%\_\\'", [2]),
        ("City LIKE '_raz'", [0, 5]),
        ("City LIKE '%quoted%'", [3]),
        ("City = 'a \"quoted\" one'", [3]),
        ('City = "a ""quoted"" one"', [3]),
        ("`two words` = 'x'", [3]),
        ("Due > '2026-11-20T10:00:00Z'", [1, 2]),
        ("Due < '2026-11-20T10:00:00.500000Z'", [0]),
        ("Due <= '2026-11-20T10:00:00.500000Z'", [0, 1]),
        ("Due >= '2026-11-21'", [2]),
        ("WorkflowId IN ('order-1', 'order-4')", [1, 4]),
        ("WorkflowId STARTS_WITH 'order-' AND NOT (City = 'Graz' OR Amount > 0)", [2, 3, 4]),
        ("WorkflowId LIKE '%-3'", [3]),
        ("WorkflowId > 'order-3'", [4, 5]),
        ("ExecutionStatus = 'Running'", [0, 2, 4]),
        ("ExecutionStatus != 'Running'", [1, 3, 5]),
        ("ExecutionStatus IN ('Completed', 'TIMED_OUT')", [1, 3, 5]),
        ("CloseTime IS NULL", [0, 2, 4]),
        ("CloseTime > '2026-01-02T05:00:00+00:00'", [3, 5]),
        ("StartTime <= '2026-01-02T03:01:05Z'", [3, 4, 5]),
        ("ExecutionDuration > '3h2m'", [3, 5]),
        ("ExecutionDuration > 10980000000000", [5]),
        ("HistoryLength >= 5", [5]),
        ("HistoryLength = 5000000000", []),
        ("TaskQueue = 'orders' and WorkflowType = 'Order' and RunId = 'none'", []),
        ("ORDER BY WorkflowId DESC", [5, 4, 3, 2, 1, 0]),
        ("ExecutionStatus = 'Completed' ORDER BY CloseTime", [1, 3, 5]),
        ("ORDER BY CloseTime DESC", [5, 3, 1]),
        ("ORDER BY WorkflowType, StartTime ASC", [5, 4, 3, 2, 1, 0]),
    ],
)
async def test_finds(store: Store, fence: Fence, query: str, expected: list[int]) -> None:
    """The same rows in a list and a count."""
    runs = await begin_all(store, fence)
    assert expected == await found(store, runs, query)
    if "ORDER BY" not in query:
        assert (len(expected), {}) == await store.count_executions(1, query)


@pytest.mark.parametrize(
    "order", ["", "ORDER BY WorkflowId", "ORDER BY WorkflowType, CloseTime DESC", "ORDER BY CloseTime"]
)
async def test_pages(store: Store, fence: Fence, order: str) -> None:
    """One row a page gives what one page gives."""
    runs = await begin_all(store, fence)
    seen: list[int] = []
    cursor = ""
    while len(seen) < len(runs):
        rows, cursor = await store.list_executions(1, order, cursor, 1)
        seen += [runs.index(row.run_id) for row in rows]
        if not cursor:
            break
    assert await found(store, runs, order) == seen


async def test_cursor_of_another_order(store: Store, fence: Fence) -> None:
    """It is refused: it names no place in this one."""
    await begin_all(store, fence)
    _, cursor = await store.list_executions(1, "", "", 1)
    with pytest.raises(ServiceError, match="of this order"):
        await store.list_executions(1, "ORDER BY WorkflowId, StartTime", cursor, 1)


@pytest.mark.parametrize(
    ("query", "total", "groups"),
    [
        ("GROUP BY ExecutionStatus", 6, {"RUNNING": 3, "COMPLETED": 3}),
        ("WorkflowId != 'order-0' GROUP BY ExecutionStatus", 5, {"COMPLETED": 3, "RUNNING": 2}),
        ("GROUP BY WorkflowType", 6, {"Order": 6}),
        ("City = 'Graz' GROUP BY City", 2, {"Graz": 2}),
        ("GROUP BY Paid", 6, {"null": 3, "true": 1, "false": 1, "1": 1}),
        ("City = 'nowhere' GROUP BY City", 0, {}),
    ],
)
async def test_groups(store: Store, fence: Fence, query: str, total: int, groups: dict[str, int]) -> None:
    """Counts by what rows have in common."""
    await begin_all(store, fence)
    assert (total, groups) == await store.count_executions(1, query)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("Amount", "character 7: expected BETWEEN, IN, IS, LIKE, NOT, STARTS_WITH or a comparison, the filter ends"),
        ("Amount >", "character 9: expected a number, a text in quotes or true or false, the filter ends"),
        ("Amount > x", "character 10: expected a number, a text in quotes or true or false, found 'x'"),
        ("WorkflowId > 5", "character 14: expected a text in quotes, found '5'"),
        ("workflow_id = 'a'", "character 1: there is no field of this name; WorkflowId, or a search attribute"),
        ("WorkflowId = 'a' AND", "character 21: expected .*a field.*, the filter ends"),
        ("(WorkflowId = 'a'", r"character 18: expected \), the filter ends"),
        ("ExecutionStatus = 'Done'", "character 19: expected one of RUNNING, .*, found \"'Done'\""),
        ("StartTime > 'monday'", "character 13: expected a time in quotes, .*, found \"'monday'\""),
        ("StartTime STARTS_WITH '2026'", "character 23: expected a text in quotes, for a field that is a text"),
        ("WorkflowId = 'a'; drop table history", "character 17: expected .*, found ';'"),
        ("ORDER BY HistoryLength", "character 10: expected one of WorkflowId, .*, found 'HistoryLength'"),
        ("GROUP BY WorkflowId", "a list has no GROUP BY: count with it"),
        ("(" * 60 + "a = 1" + ")" * 60, "nested at most 50 deep"),
        (" OR ".join(["a = 1"] * 101), "at most 100 comparisons"),
        ("a = '" + "x" * 5000 + "'", "at most 4,096 characters"),
    ],
)
async def test_bad_filters(store: Store, query: str, message: str) -> None:
    """A filter that cannot be read is refused with the place and what was expected there."""
    with pytest.raises(ServiceError, match=message) as refused:
        await store.list_executions(1, query, "", 9)
    assert Code.INVALID_ARGUMENT == refused.value.code


NAMES = "City", "Amount", "Paid", "Tags", "Due", "`two words`", "Nothing"
SIGNS = "=", "!=", "<>", "<", "<=", ">", ">="
TEXTS = "Graz", "graz%_\\", "vip", "100", "order-3", "2026-11-20T10:00:00Z", "", "''", '"', "%", "G"
LITERALS = *(f"'{text}'" for text in TEXTS), "100", "20.5", "-3", "1", "true", "false", "1e2"
PATTERNS = "G%", "%a_", "gr", "", "%", r"graz\%\_\\", "_", "order-_"
FORMS: list[Callable[[Random], str]] = [
    lambda chance: f"{chance.choice(NAMES)} {chance.choice(SIGNS)} {chance.choice(LITERALS)}",
    lambda chance: f"{chance.choice(NAMES)} IN ({', '.join(chance.choices(LITERALS, k=chance.randint(1, 3)))})",
    lambda chance: f"{chance.choice(NAMES)} BETWEEN {chance.choice(LITERALS)} AND {chance.choice(LITERALS)}",
    lambda chance: f"{chance.choice(NAMES)} IS {chance.choice(['', 'NOT '])}NULL",
    lambda chance: f"{chance.choice([*NAMES, 'WorkflowId'])} LIKE '{chance.choice(PATTERNS)}'",
    lambda chance: f"{chance.choice([*NAMES, 'WorkflowId'])} STARTS_WITH '{chance.choice(PATTERNS)}'",
    lambda chance: f"WorkflowId {chance.choice(SIGNS)} 'order-{chance.randint(0, 9)}'",
    lambda chance: f"HistoryLength {chance.choice(SIGNS)} {chance.choice(['2', '5', '4.5'])}",
    lambda chance: f"CloseTime {chance.choice(SIGNS)} '2026-01-02T0{chance.randint(3, 9)}:04:05Z'",
    lambda chance: f"ExecutionStatus {chance.choice(['=', '!='])} 'Running'",
    lambda chance: f"NOT ({random_filter(chance)})",
    lambda chance: f"({random_filter(chance)}) AND {random_filter(chance)}",
    lambda chance: f"{random_filter(chance)} OR ({random_filter(chance)})",
]


def random_filter(chance: Random) -> str:
    return chance.choice(FORMS)(chance)


async def test_model_and_postgres_agree(postgres_store: PostgresStore) -> None:
    """On filters of any form."""
    model = ModelStore()
    chance = Random(1)
    each = [(one, await begin_all(one, await one.take_fence("server-1"))) for one in (postgres_store, model)]
    for _ in range(500):
        query = random_filter(chance)
        by_postgres, by_model = [await found(one, runs, query) for one, runs in each]
        assert by_postgres == by_model, query
