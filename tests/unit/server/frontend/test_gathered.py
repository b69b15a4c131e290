"""What all servers know a part of: asked of all, put together, and whose answer is missing named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest

from perdure_proto.cluster import ClusterAnswer, ClusterMember
from perdure_proto.service import DescribeTaskQueueAnswer, PollerInfo
from perdure_server.frontend import others
from perdure_server.frontend.gathered import merged
from perdure_server.frontend.others import RATES_PATH
from perdure_server.frontend.peers import KEY_HEADER, Peers, key_text
from perdure_server.frontend.port import Whole
from perdure_server.matching.rate import Rate
from perdure_server.rates.requests import RequestRates
from tests.unit.server.frontend.doubles import SETTINGS, House, house

KEY = b"k" * 16
QUEUE = "/api/v1/namespaces/default/task-queues/orders"
NINE, TEN = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (9, 10))


class Members(Whole):
    """Who lives, as the test says."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}

    def answer(self) -> ClusterAnswer:
        members = [ClusterMember(server=name, address=address) for name, address in self.addresses.items()]
        return ClusterAnswer(shards=1, members=tuple(members), owners=(0,))


@asynccontextmanager
async def houses(count: int) -> AsyncIterator[list[House]]:
    """So many servers that know each other."""
    cluster, built = Members(), []
    async with AsyncExitStack() as stack:
        for number in range(count):
            settings = msgspec.structs.replace(SETTINGS, name=f"server-{number}")
            one = await stack.enter_async_context(house(settings, cluster=cluster))
            peers = Peers(cluster, key=KEY)
            stack.push_async_callback(peers.close)
            one.frontend.meet(peers, KEY)
            cluster.addresses[settings.name] = one.address
            built.append(one)
        yield built


async def test_a_task_queue_is_that_of_all_servers() -> None:
    """Backlogs are added up, and every server is asked once."""
    async with houses(3) as built:
        answer = await built[1].get(QUEUE)
        assert (9, ["server-0", "server-1", "server-2"]) == (answer.body["activity_backlog"], answer.body["servers"])
        assert [1, 1, 1] == [[name for name, _ in one.api.asked].count("describe_task_queue") for one in built]


async def test_a_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is gone, one that refuses, and one that takes too long."""
    monkeypatch.setattr(others, "ALL_SECONDS", 0.3)
    async with houses(4) as built:
        await built[0].frontend.close()
        built[1].api.fails["describe_task_queue"] = RuntimeError("broken")
        built[2].frontend._internal._api = Stuck()  # type: ignore[assignment]
        answer = await built[3].get(QUEUE)
        assert (["server-3"], ["server-0", "server-1", "server-2"]) == (answer.body["servers"], answer.body["silent"])


class Stuck:
    """Never answers."""

    async def describe_task_queue(self, *_: str) -> DescribeTaskQueueAnswer:
        await asyncio.Event().wait()
        raise AssertionError


def test_a_worker_is_one_poller_whatever_servers_it_polls() -> None:
    """It offers the same slots to all; it was seen when the last of them saw it."""
    here = PollerInfo(session="s", identity="w", last_seen=NINE, activity_slots=5)
    there = PollerInfo(session="s", identity="w", last_seen=TEN, workflow_slots=2, activity_slots=3)
    other = PollerInfo(session="t", identity="a")
    answer = merged(
        {
            "server-1": DescribeTaskQueueAnswer(name="q", pollers=(here,), workflow_backlog=1),
            "server-2": DescribeTaskQueueAnswer(name="q", pollers=(there, other), activities_per_second=20.0),
        },
        (),
    )
    both = PollerInfo(session="s", identity="w", last_seen=TEN, workflow_slots=2, activity_slots=5)
    assert (other, both) == answer.pollers
    assert (1, 0, 20.0) == (answer.workflow_backlog, answer.activity_backlog, answer.activities_per_second)


async def test_a_changed_namespace_is_told_to_all() -> None:
    """When the answer comes, every server that can be reached has looked."""
    async with houses(3) as built:
        looked: list[str] = []
        for one in built:
            one.frontend._internal._api = Looking(looked)  # type: ignore[assignment]
        assert 200 == (await built[0].post("/api/v1/namespaces/default/update", {"rps_max": 5})).status
        assert ["looked", "looked"] == looked


class Looking:
    """Notes each look at the namespaces."""

    def __init__(self, looked: list[str]) -> None:
        self._looked = looked

    async def look_at_namespaces(self) -> None:
        self._looked.append("looked")


async def test_who_has_no_key_is_not_let_in() -> None:
    """Rates are leased among servers."""
    async with house() as h:
        assert 401 == (await h.post(RATES_PATH, {})).status


async def test_requests_over_the_rate_of_a_namespace_are_refused() -> None:
    """With the seconds to wait; those of workers, and those that another server passes on, are not counted."""
    async with houses(1) as (h,):
        admission = RequestRates(lambda: 0.0, lambda: 0.0)
        h.frontend._operations._rates = admission
        admission.rates["default"] = _rate()
        assert 200 == (await h.get(f"{QUEUE}")).status
        refused = await h.get(f"{QUEUE}")
        assert (429, "RESOURCE_EXHAUSTED", "1") == (refused.status, refused.code, refused.headers["Retry-After"])
        assert {"limit": "rps_max", "max": 1.0, "retry_after": 1.0} == refused.body["details"]
        assert 200 == (await h.post(f"{QUEUE}/leave", {"session": "s"})).status
        assert 200 == (await h.get("/api/v1/namespaces/default")).status
        assert 200 == (await h.get(QUEUE, **{KEY_HEADER: key_text(KEY)})).status
        assert 429 == (await h.get(QUEUE, **{KEY_HEADER: "guessed"})).status


def _rate() -> Rate:
    return Rate(1.0, 0.0, burst_seconds=1.0)
