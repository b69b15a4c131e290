"""Requests to several servers: who is asked, what is learned from a refusal, and what a silent member costs."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiohttp import web

from perdure import _cluster, _members, _requests
from perdure._cluster import HOPS_MAX, Cluster
from perdure._service import Service
from perdure.client import Client
from perdure.converter import DataConverter
from perdure.exceptions import RPCError
from perdure_proto.errors import Code, ServiceError
from perdure_proto.ids import activities_of
from perdure_proto.service import Acknowledged, CancelWorkflowRequest, SignalWorkflowRequest
from tests.unit.sdk.members import SHARDS, Asked, Town, client_of, id_in, refused, town, until

REQUEST = CancelWorkflowRequest(request_id="once")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_requests, "BACKOFF_SECONDS_FIRST", 0.0)
    monkeypatch.setattr(_cluster, "LOOK_PAUSE_SECONDS", 0.0)


async def cancel(cluster: Cluster, workflow_id: str) -> str:
    """Who has carried it out."""
    path = f"/api/v1/namespaces/default/workflows/{workflow_id}/cancel"
    return (await cluster.about("default", workflow_id).call("POST", path, REQUEST, Acknowledged)).run_id


def spread(there: Town) -> None:
    """The first half of the shards is of a, the second of b."""
    there.give("a", 0, 1)
    there.give("b", 2, 3)


async def test_requests_go_straight_to_the_owner() -> None:
    """Each member is asked about its own shards, by someone who keeps a shard map."""
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        spread(there)
        await cluster.find_members()
        assert ["a", "a", "b", "b"] == [await cancel(cluster, id_in(shard)) for shard in range(SHARDS)]
        for name in "ab":
            assert [True, True] == [asked.keeps_map for asked in there.members[name].asked]


async def test_one_member_is_asked_as_ever() -> None:
    """With one member there is no shard map, and its own address is not used."""
    async with town("a") as there:
        there.members["a"].advertised = "http://127.0.0.1:9"
        async with client_of(there.members["a"].address) as cluster:
            assert "a" == await cancel(cluster, "w")
        assert [False] == [asked.keeps_map for asked in there.members["a"].asked]


async def test_a_server_that_knows_no_cluster_is_enough() -> None:
    """An older server is asked on, at the address that was given."""
    async with town("a") as there:
        there.members["a"].knows_cluster = False
        async with await Client.connect(there.members["a"].address) as client:
            await client.get_workflow_handle("w").cancel()
        assert ["/api/v1/namespaces/default/workflows/w/cancel"] == there.members["a"].paths


async def test_a_shard_that_moved_is_followed_at_once() -> None:
    """Who is not the owner says who is: the request goes there with the same body, and so do the next ones."""
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        there.give("b")
        workflow_id = id_in(0)
        assert ["b", "b"] == [await cancel(cluster, workflow_id) for _ in range(2)]
        (first,), second = there.members["a"].asked, there.members["b"].asked
        assert [first.body] * 2 == [asked.body for asked in second]


async def test_a_circle_of_owners_is_left() -> None:
    """Two servers that name each other are asked a few times, then there is a pause like before any other repeat."""
    async with town("a", "b") as there, client_of(there.members["a"].address, rpc_timeout=0.0) as cluster:
        for name, other in ("ab", "ba"):
            address = there.members[other].address
            there.members[name].refuses = ServiceError(Code.WRONG_OWNER, "not mine", shard=0, address=address)
        path = f"/api/v1/namespaces/default/workflows/{id_in(0)}"
        with pytest.raises(RPCError, match="not mine"):
            await cluster.about("default", id_in(0)).request("GET", path, None, Acknowledged)
        assert HOPS_MAX == len(there.members["a"].asked) + len(there.members["b"].asked)


async def test_an_owner_whom_nobody_knows_is_asked_for() -> None:
    """Without an address the cluster is asked again, and the request repeated until somebody owns the shard."""
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        there.owners[0] = ""
        looks = there.members["a"].looks
        asking = asyncio.create_task(cancel(cluster, id_in(0)))
        await until(lambda: there.members["a"].looks != looks)
        there.give("b", 0)
        assert "b" == await asking


async def test_all_who_wait_share_one_look() -> None:
    """However many requests are refused, who is there is asked once at a time."""
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        there.members["a"].names_owner = False
        there.members["a"].gate = asyncio.Event()
        there.give("b")
        looks = there.members["a"].looks
        asking = [asyncio.create_task(cancel(cluster, id_in(0))) for _ in range(20)]
        await until(lambda: len(there.members["a"].asked) >= 40)
        assert looks + 1 == there.members["a"].looks
        there.members["a"].gate.set()
        assert ["b"] * 20 == await asyncio.gather(*asking)
        assert there.members["a"].looks <= looks + 3


async def test_looks_are_a_second_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that is asked for soon after another waits."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        monkeypatch.setattr(_cluster, "LOOK_PAUSE_SECONDS", 1.0)
        monkeypatch.setattr(_cluster, "time", SimpleNamespace(monotonic=lambda: cluster._looked_at + 0.25))
        monkeypatch.setattr(asyncio, "sleep", sleep)
        assert await cluster.look_again()
    assert 0.75 == waits[0]


async def test_a_dead_member_is_gone_round() -> None:
    """What a dead member owned is asked of another one, which forwards; the map is read anew there."""
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        assert "a" == await cancel(cluster, id_in(0))
        await there.members["a"].die()
        asking = asyncio.create_task(cancel(cluster, id_in(0)))
        await until(lambda: there.members["b"].asked)
        assert not there.members["b"].asked[0].keeps_map
        there.listed.remove("a")
        there.give("b")
        assert "b" == await asking


async def test_a_member_that_is_back_is_asked_itself_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that failed is left alone for a while, then looked at beside the requests, then used."""
    monkeypatch.setattr(_members, "AVOID_SECONDS_FIRST", 0.0)
    async with town("a", "b") as there, client_of(there.members["b"].address) as cluster:
        assert "a" == await cancel(cluster, id_in(0))
        await there.members["a"].die()
        with pytest.raises(RPCError):
            await cluster.about("default", id_in(0)).request(
                "GET", f"/api/v1/namespaces/default/workflows/{id_in(0)}", None, Acknowledged
            )
        await there.members["a"].open()
        there.members["a"].asked.clear()
        while not there.members["a"].asked:
            await cancel(cluster, id_in(0))
        assert there.members["a"].asked[0].keeps_map


async def test_a_given_address_serves_where_members_cannot_be_reached() -> None:
    """Behind a load balancer or a mapped port, all goes through the address that was given, to be forwarded."""
    async with town("a", "b") as there:
        for name in "ab":
            there.members[name].advertised = f"http://127.0.0.1:{'89'['ab'.index(name)]}"
        spread(there)
        async with client_of(there.members["a"].address) as cluster:
            assert ["a", "a", "b", "b"] == [await cancel(cluster, id_in(shard)) for shard in range(SHARDS)]
        assert 4 == len(there.members["a"].asked)
        assert {False} == {asked.keeps_map for asked in there.members["a"].asked}


async def test_another_server_at_the_address_of_a_member_is_not_used() -> None:
    """Behind a mapped port somebody else may answer: a member has to say its name first."""
    async with town("a", "b", "stranger") as there:
        there.listed.remove("stranger")
        there.members["b"].advertised = there.members["stranger"].address
        there.give("b")
        async with client_of(there.members["a"].address) as cluster:
            assert "b" == await cancel(cluster, id_in(0))
        assert ([], 1) == (there.members["stranger"].asked, len(there.members["a"].asked))


async def test_a_stranger_is_not_used_when_all_else_fails() -> None:
    """Nor is it asked who is there when the address that was given is dead."""
    async with town("a", "b", "stranger") as there, client_of(there.members["a"].address) as cluster:
        there.listed.remove("stranger")
        there.members["b"].advertised = there.members["stranger"].address
        await cluster.find_members()
        await there.members["a"].die()
        looks = there.members["stranger"].looks
        with pytest.raises(RPCError):
            await cluster.request("GET", "/x", None, Acknowledged)
        assert not await cluster.look_again()
        assert ([], looks) == (there.members["stranger"].asked, there.members["stranger"].looks)


async def test_the_handshake_of_a_channel_says_that_a_map_is_kept() -> None:
    """What goes over a channel is answered as what goes over HTTP."""
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        for _ in range(10):
            await cancel(cluster, id_in(0))
        await until(lambda: there.members["a"].handshakes)
        assert [True] == there.members["a"].handshakes


async def test_a_key_is_not_sent_in_the_clear() -> None:
    """Who was given an https address is sent to no other kind."""
    members = _members.Members(("https://perdure.example",))
    async with town("a", "b") as there:
        members.take(there.answer())
    assert ({}, "") == (members.names, members.learn(0, "http://127.0.0.1:1"))


async def test_the_next_address_serves_when_the_first_is_dead() -> None:
    """Of several addresses one is enough."""
    async with town("a", "b") as there:
        await there.members["a"].die()
        there.listed.remove("a")
        there.give("b")
        both = f"{there.members['a'].address},{there.members['b'].address}"
        async with await Client.connect(both) as client:
            await client.get_workflow_handle("w").cancel()
            assert there.members["a"].address == client.service.connection.address
        assert 1 == len(there.members["b"].asked)


async def test_what_is_about_no_workflow_goes_to_the_first_that_answers() -> None:
    """Lists and the like go to the given address, and on to a member when that is dead."""
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        assert "a" == (await cluster.call("GET", "/x", None, Acknowledged)).run_id
        await there.members["a"].die()
        assert "b" == (await cluster.call("GET", "/x", None, Acknowledged)).run_id


async def test_signals_keep_their_order_through_a_move() -> None:
    """The second signal waits until the first one has found the new owner."""
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        service = Service(cluster, "default", identity="me", converter=DataConverter())

        def move(_: Asked) -> web.Response:
            there.give("b")
            return refused(ServiceError(Code.UNAVAILABLE, "the shard is on its way"))

        there.members["a"].serves = move
        sent = [
            asyncio.create_task(service.signal(id_in(0), f"s{n}", SignalWorkflowRequest(request_id=str(n))))
            for n in range(3)
        ]
        await asyncio.gather(*sent)
        assert ["s0", "s1", "s2"] == [path.rpartition("/")[2] for path in there.members["b"].paths]


async def test_standalone_activities_have_shards_of_their_own() -> None:
    """The shard of a standalone activity is that of its own namespace."""
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        service = Service(cluster, "default", identity="me", converter=DataConverter())
        activity_id = id_in(3, activities_of("default"))
        there.give("b", 3)
        await cluster.find_members()
        assert "b" == (await service.cancel_activity(activity_id, REQUEST)).run_id
        assert [] == there.members["a"].asked


async def test_an_activity_is_ended_where_its_workflow_is() -> None:
    """By ids, the end of an activity goes to the owner; by token, to any server."""
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        client = Client(Service(cluster, "default", identity="me", converter=DataConverter()))
        there.give("b", 3)
        await cluster.find_members()
        await client.get_async_activity_handle(workflow_id=id_in(3), activity_id="1").complete()
        await client.get_async_activity_handle(task_token=b"t").complete()
        assert (1, 1) == (len(there.members["b"].asked), len(there.members["a"].asked))


async def test_connections_to_a_member_that_left_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after a member has gone nothing is open to it."""
    monkeypatch.setattr(_cluster, "GONE_SECONDS", 0.0)
    async with town("a", "b") as there, client_of(there.members["a"].address) as cluster:
        there.give("b", 0)
        await cluster.find_members()
        await cancel(cluster, id_in(0))
        address = there.members["b"].address
        assert (address, True) in cluster._connections
        there.listed.remove("b")
        there.give("a")
        await cluster.find_members()
        await until(lambda: (address, True) not in cluster._connections)
        assert "a" == await cancel(cluster, id_in(0))


async def test_a_closed_client_opens_nothing() -> None:
    """Whatever is still under way when a client is closed does not make new connections."""
    async with town("a", "b") as there:
        async with client_of(there.members["a"].address) as cluster:
            cluster.look()
        with pytest.raises(RuntimeError, match="closed"):
            await cluster.send_to(there.members["b"].address, "GET", "/x", None, 1.0)
        assert not await cluster.find_members()
