"""Rates on the engine: of namespaces, as they are stored and learnt, and of a queue that two servers share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from perdure_proto.errors import Code, ServiceError
from perdure_proto.namespaces import CreateNamespaceRequest, UpdateNamespaceRequest
from perdure_server.rates.requests import RequestRates
from perdure_server.rates.rounds import Rounds, RoundsOptions
from perdure_server.rates.sources import limited_here
from tests.engine import NAMESPACE, QUEUE, Cluster, OneServer, Worker

LIMIT = 30.0


class Meeting:
    """Servers that live and hear each other, on a clock that is moved by hand."""

    def __init__(self, *servers: OneServer) -> None:
        self.now = 0.0
        self.by_name = {server.name: server for server in servers}
        self.admissions = {server.name: RequestRates(lambda: self.now, lambda: self.now) for server in servers}
        for server in servers:
            self._join(server, self.admissions[server.name])

    def _join(self, server: OneServer, admission: RequestRates) -> None:
        options = RoundsOptions(
            server=server.name,
            limited=lambda: limited_here(server.api.matching, admission),
            look_again=server.api.look_at_namespaces,
            clock=lambda: self.now,
        )
        rates = server.api.rates = Rounds(self, options)
        server.api.matching.sharing.with_others(lambda: rates.is_alone, rates.look)
        admission.with_others(lambda: rates.is_alone, rates.look)
        server.engine.residents.namespaces.on_learnt = admission.learn

    def names(self) -> Sequence[str]:
        return list(self.by_name)

    def staying(self) -> Sequence[str]:
        return list(self.by_name)

    async def ask_rates(self, server: str, body: bytes) -> bytes:
        return await self.by_name[server].api.lease_rates(body)

    async def rounds(self, count: int = 4) -> None:
        for _ in range(count):
            self.now += 1.0
            for server in self.by_name.values():
                assert server.api.rates is not None
                await server.api.rates.round()

    def shares(self, namespace: str) -> list[float]:
        return [admission.rates[namespace].per_second for admission in self.admissions.values()]


async def two(cluster: Cluster, server: OneServer) -> Meeting:
    return Meeting(server, await cluster.server("server-2", shards=()))


async def test_a_queue_s_rate_is_shared_by_those_who_know_it(cluster: Cluster, server: OneServer) -> None:
    """A worker names it to both, as workers do; each has half, and the description says the whole."""
    meeting = await two(cluster, server)
    for each in meeting.by_name.values():
        worker = Worker(each)
        assert worker._info is not None
        worker._info = msgspec.structs.replace(worker._info, max_task_queue_activities_per_second=LIMIT)
        await worker.poll(wait=0)
    await meeting.rounds()
    for each in meeting.by_name.values():
        [queue] = each.api.matching.limited()
        assert queue.rate is not None
        assert LIMIT / 2 == queue.rate.per_second
        assert LIMIT == (await each.api.describe_task_queue(NAMESPACE, QUEUE)).activities_per_second


async def test_a_namespace_s_rate_is_shared_by_all(cluster: Cluster, server: OneServer) -> None:
    """One server makes it, another hears of it when it looks, and it can be taken away."""
    meeting = await two(cluster, server)
    made = await server.api.create_namespace("shop", CreateNamespaceRequest(rps_max=LIMIT))
    assert LIMIT == made.rps_max
    await meeting.by_name["server-2"].api.look_at_namespaces()
    await meeting.rounds()
    assert [LIMIT / 2] * 2 == meeting.shares("shop")
    await server.api.update_namespace("shop", UpdateNamespaceRequest(rps_max=LIMIT * 2))
    await meeting.rounds()
    assert [LIMIT] * 2 == meeting.shares("shop")
    changed = await server.api.update_namespace("shop", UpdateNamespaceRequest(rps_max=0.0))
    assert 0.0 == changed.rps_max
    assert "shop" not in meeting.admissions[server.name].rates


@pytest.mark.parametrize("rps_max", [-1.0, float("inf"), float("nan")])
async def test_a_rate_that_is_none_is_refused(server: OneServer, rps_max: float) -> None:
    """Below 0, endless or no number; and a retention under an hour."""
    with pytest.raises(ServiceError, match="rps_max"):
        await server.api.create_namespace("shop", CreateNamespaceRequest(rps_max=rps_max))
    with pytest.raises(ServiceError, match="rps_max"):
        await server.api.update_namespace("default", UpdateNamespaceRequest(rps_max=rps_max))
    with pytest.raises(ServiceError, match="retention"):
        await server.api.update_namespace("default", UpdateNamespaceRequest(retention=timedelta(minutes=1)))


async def test_a_namespace_that_is_not_there_is_not_changed(server: OneServer) -> None:
    """The code says so."""
    with pytest.raises(ServiceError) as caught:
        await server.api.update_namespace("none", UpdateNamespaceRequest(description="x"))
    assert Code.NAMESPACE_NOT_FOUND == caught.value.code


async def test_a_server_without_others_leases_nothing(server: OneServer) -> None:
    """Whoever asks all the same may try again."""
    with pytest.raises(ServiceError) as caught:
        await server.api.lease_rates(b"{}")
    assert Code.UNAVAILABLE == caught.value.code
