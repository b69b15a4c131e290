"""Requests about another server's shards: passed on, waited for, or sent back to callers that keep a map."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from perdure_proto.channel import CHANNEL_PATH, SHARD_MAP_HEADER
from perdure_proto.cluster import ClusterAnswer, ClusterMember
from perdure_proto.errors import Code, ServiceError
from perdure_server.frontend import forwarding, late
from perdure_server.frontend import peers as peering
from perdure_server.frontend.peers import DELIVER_PATH, Peers
from perdure_server.frontend.port import Whole
from tests.unit.server.frontend.doubles import House, house

KEY = b"k" * 16
QUEUE = "/api/v1/namespaces/default/task-queues/q"
POLL = {"session": "s", "sequence": 1, "workflow_slots": 1, "activity_slots": 1, "wait": "PT20S"}
SHARD = 3
WORKFLOW = "/api/v1/namespaces/default/workflows/w%2F1"
RESULT = f"{WORKFLOW}/result?run_id=r&wait=PT20S"
ELSEWHERE = ServiceError(Code.WRONG_OWNER, "not mine", shard=SHARD, address="")


class MovingCluster:
    """Says where the one shard is, and lets a test move it."""

    cut_off = ""

    def __init__(self) -> None:
        self.address = ""
        self.looks = 0
        self.looked = asyncio.Event()
        self._moved = asyncio.Condition()

    def answer(self) -> ClusterAnswer:
        member = ClusterMember(server="other", address=self.address)
        return ClusterAnswer(shards=8, members=(member,), owners=(0,) * 8)

    def address_of(self, shard_id: int) -> str:
        assert SHARD == shard_id
        return self.address

    def way_to(self, server: str) -> str | None:
        return {"here": "", "other": self.address}.get(server)

    def look(self) -> None:
        self.looks += 1
        self.looked.set()

    async def changed(self, timeout: float) -> bool:
        async with self._moved:
            try:
                await asyncio.wait_for(self._moved.wait(), timeout)
            except TimeoutError:
                return False
            return True

    async def move(self, address: str) -> None:
        async with self._moved:
            self.address = address
            self._moved.notify_all()


class Other(Whole):
    """What the other server knows: its own name."""

    def way_to(self, server: str) -> str | None:
        return "" if server == "other" else None


class Pair:
    """A server that is asked, and another that may own the shard."""

    def __init__(self, here: House, there: House, cluster: MovingCluster) -> None:
        self.here = here
        self.there = there
        self.cluster = cluster
        self.cluster.address = there.address

    def disown(self, *names: str) -> None:
        """The asked server does not own what these are about."""
        for name in names:
            self.here.api.fails[name] = ELSEWHERE


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    cluster = MovingCluster()
    async with house(cluster=cluster) as here, house(cluster=Other()) as there:
        mine, theirs = Peers(cluster, key=KEY), Peers(MovingCluster(), key=KEY)
        here.frontend.meet(mine, KEY)
        there.frontend.meet(theirs, KEY)
        try:
            yield Pair(here, there, cluster)
        finally:
            await mine.close()
            await theirs.close()


@asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """An address whose server takes requests and never answers; the event says that one came."""
    asked = asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", never)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def test_a_request_is_passed_on_to_the_owner() -> None:
    """The owner gets what was asked, and its answer comes back as it is."""
    async with pair() as p:
        p.disown("describe_workflow")
        direct = await p.there.get(f"{WORKFLOW}?run_id=r")
        passed = await p.here.get(f"{WORKFLOW}?run_id=r")
        assert (direct.status, direct.body) == (passed.status, passed.body)
        assert ("default", "w/1", "r") == p.there.api.last("describe_workflow")


async def test_a_body_is_passed_on() -> None:
    """What a request says reaches the owner as it came."""
    async with pair() as p:
        p.disown("start_workflow")
        assert 200 == (await p.here.post(WORKFLOW, {"workflow_type": "t", "input": ["x"]})).status
        assert b'["x"]' == bytes(p.there.api.last("start_workflow")[2].input)


async def test_an_update_has_its_id_before_anybody_is_asked() -> None:
    """One that came without is the same update for the owner as for the server that was asked first."""
    async with pair() as p:
        p.disown("update_workflow")
        assert 200 == (await p.here.post(f"{WORKFLOW}/update/add", {"input": [1]})).status
        asked, passed_on = p.here.api.last("update_workflow")[3], p.there.api.last("update_workflow")[3]
        assert asked.update_id
        assert asked.update_id == passed_on.update_id


async def test_refusals_of_the_owner_come_back() -> None:
    """An error of the owner is the caller's, with status and details."""
    async with pair() as p:
        p.disown("describe_workflow")
        p.there.api.fails["describe_workflow"] = ServiceError(Code.WORKFLOW_NOT_FOUND, "no", hint=1)
        answer = await p.here.get(WORKFLOW)
        assert (404, {"code": "WORKFLOW_NOT_FOUND", "message": "no", "details": {"hint": 1}}) == (
            answer.status,
            answer.body,
        )


async def test_requests_of_a_channel_are_passed_on() -> None:
    """It makes no difference how a request came."""
    async with pair() as p:
        p.disown("describe_workflow")
        async with p.here.client.ws_connect(p.here.address + CHANNEL_PATH) as socket:
            await socket.send_bytes(msgspec.json.encode([(7, "GET", WORKFLOW)]))
            ((number, status, body),) = msgspec.json.decode(await socket.receive_bytes())
        assert (7, 200) == (number, status)
        assert (await p.there.get(WORKFLOW)).body == body


async def test_who_keeps_a_map_is_told_the_owner() -> None:
    """A caller with a map of shards is sent there, and nothing is passed on."""
    async with pair() as p:
        p.disown("describe_workflow")
        answer = await p.here.get(WORKFLOW, **{SHARD_MAP_HEADER: "1"})
        assert (421, "WRONG_OWNER", SHARD) == (answer.status, answer.code, answer.body["details"]["shard"])
        assert [] == p.there.api.asked


async def test_a_channel_whose_caller_keeps_a_map_is_told_the_owner() -> None:
    """The handshake says it for all requests of a channel."""
    async with pair() as p:
        p.disown("describe_workflow")
        headers = {SHARD_MAP_HEADER: "1"}
        async with p.here.client.ws_connect(p.here.address + CHANNEL_PATH, headers=headers) as socket:
            await socket.send_bytes(msgspec.json.encode([(7, "GET", WORKFLOW)]))
            assert 421 == msgspec.json.decode(await socket.receive_bytes())[0][1]


async def test_a_request_waits_for_an_owner() -> None:
    """While a shard is on its way nobody is known to own it: the request waits, and a fresh look is asked for."""
    async with pair() as p:
        p.disown("describe_workflow")
        p.cluster.address = ""
        request = asyncio.ensure_future(p.here.get(WORKFLOW))
        await p.cluster.looked.wait()
        await p.cluster.move(p.there.address)
        assert 200 == (await request).status


async def test_a_shard_that_comes_here_is_served_here() -> None:
    """Who waited for an owner is answered by the asked server, should it become that."""
    async with pair() as p:
        p.disown("describe_workflow")
        p.cluster.address = ""
        request = asyncio.ensure_future(p.here.get(WORKFLOW))
        await p.cluster.looked.wait()
        del p.here.api.fails["describe_workflow"]
        await p.cluster.move("")
        assert 200 == (await request).status
        assert [] == p.there.api.asked


async def test_an_owner_that_does_not_own_yet_is_asked_again() -> None:
    """The new owner may not know of its luck: it is asked again until it does."""
    async with pair() as p:
        p.disown("describe_workflow")
        p.there.api.fails["describe_workflow"] = ELSEWHERE
        request = asyncio.ensure_future(p.here.get(WORKFLOW))
        await p.cluster.looked.wait()
        del p.there.api.fails["describe_workflow"]
        await p.cluster.move(p.there.address)
        assert 200 == (await request).status


async def test_an_owner_that_cannot_be_reached_is_waited_out() -> None:
    """Nothing was asked of a server that does not listen: the request waits for the next owner."""
    async with pair() as p, silent_server() as (gone, _):
        pass_on = p.there.address
        p.disown("start_workflow")
        p.cluster.address = gone.rpartition(":")[0] + ":1"
        request = asyncio.ensure_future(p.here.post(WORKFLOW, {"workflow_type": "t"}))
        await p.cluster.looked.wait()
        await p.cluster.move(pass_on)
        assert 200 == (await request).status


async def test_what_may_have_happened_is_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that loses the shard without an answer may have done it: only the caller knows whether to repeat."""
    monkeypatch.setattr(forwarding, "LAST_WORDS_SECONDS", 0.01)
    async with pair() as p, silent_server() as (silent, asked):
        p.disown("signal_workflow")
        p.cluster.address = silent
        request = asyncio.ensure_future(p.here.post(f"{WORKFLOW}/signal/s", {"request_id": "r"}))
        await asked.wait()
        await p.cluster.move(p.there.address)
        answer = await request
        assert (503, "UNAVAILABLE") == (answer.status, answer.code)
        assert [] == p.there.api.asked


async def test_reads_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that got no answer is asked of the next owner."""
    monkeypatch.setattr(forwarding, "LAST_WORDS_SECONDS", 0.01)
    async with pair() as p, silent_server() as (silent, asked):
        p.disown("describe_workflow")
        p.cluster.address = silent
        request = asyncio.ensure_future(p.here.get(WORKFLOW))
        await asked.wait()
        await p.cluster.move(p.there.address)
        assert 200 == (await request).status


async def test_a_wait_is_not_begun_anew() -> None:
    """What is passed on waits as long as its caller still does."""
    async with pair() as p:
        p.disown("workflow_result")
        assert 200 == (await p.here.get(RESULT)).status
        assert 19 < p.there.api.last("workflow_result")[3] < 20


async def test_draining_ends_waits_elsewhere() -> None:
    """A server that goes away asks the owner once more, without the wait."""
    async with pair() as p:
        p.disown("workflow_result")
        p.there.api.waits["workflow_result"] = asyncio.Event()
        request = asyncio.ensure_future(p.here.get(RESULT))
        await p.there.api.waiting.wait()
        await p.here.frontend.drain()
        assert 200 == (await request).status
        assert 0 == p.there.api.last("workflow_result")[3]


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that no server takes is an error that callers repeat."""
    monkeypatch.setattr(forwarding, "HAND_OVER_SECONDS_MAX", 0.05)
    async with pair() as p:
        p.disown("describe_workflow")
        p.cluster.address = ""
        answer = await p.here.get(WORKFLOW)
        assert (503, "UNAVAILABLE") == (answer.status, answer.code)


# ---- what names a member ----


async def test_what_names_a_member_is_passed_on_to_it() -> None:
    """A poll for another server is that server's to answer."""
    async with pair() as p:
        assert 200 == (await p.here.post(f"{QUEUE}/poll?server=other", POLL)).status
        assert ("default", "q") == p.there.api.last("poll")[:2]
        assert "poll" not in [name for name, _ in p.here.api.asked]


async def test_what_names_the_server_itself_stays() -> None:
    """Whoever is meant answers, whatever way it came."""
    async with pair() as p:
        assert 200 == (await p.here.post(f"{QUEUE}/poll?server=here", POLL)).status
        assert "poll" in [name for name, _ in p.here.api.asked]


async def test_what_names_nobody_is_repeated_later() -> None:
    """A server that is not known may have come a moment ago: a fresh look is asked for."""
    async with pair() as p:
        answer = await p.here.post(f"{QUEUE}/poll?server=newcomer", POLL)
        assert (503, 1) == (answer.status, p.cluster.looks)


async def test_what_was_passed_on_goes_no_further() -> None:
    """At the address of a member another server may answer: it does not pass on again."""
    async with pair() as p:
        headers = {SHARD_MAP_HEADER.replace("-", "_"): "1"}
        assert 503 == (await p.here.post(f"{QUEUE}/poll?server=other", POLL, **headers)).status
        assert [] == p.there.api.asked


async def test_draining_ends_what_was_passed_on() -> None:
    """A server that goes away waits for nobody's poll at another."""
    async with pair() as p:
        p.there.api.waits["poll"] = asyncio.Event()
        request = asyncio.ensure_future(p.here.post(f"{QUEUE}/poll?server=other", POLL))
        await p.there.api.waiting.wait()
        await p.here.frontend.drain()
        assert 503 == (await request).status
        await p.there.api.cancelled.wait()


@pytest.mark.parametrize("error", [None, ServiceError(Code.SESSION_UNKNOWN, "who?")])
async def test_an_answer_that_comes_late_is_kept_alive(
    monkeypatch: pytest.MonkeyPatch, error: ServiceError | None
) -> None:
    """A poll that waits longer than a server may be silent carries bytes, and then its answer or its error."""
    monkeypatch.setattr(late, "BYTE_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(peering, "SILENT_SECONDS_MAX", 1.0)
    async with pair() as p:
        answers = p.there.api.waits["poll"] = asyncio.Event()
        request = asyncio.ensure_future(p.here.post(f"{QUEUE}/poll?server=other", POLL))
        await p.there.api.waiting.wait()
        asyncio.get_running_loop().call_later(1.5, answers.set)
        if error is not None:
            p.there.api.fails_after["poll"] = error
        assert (200 if error is None else error.status) == (await request).status


async def test_a_silent_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever carries no bytes any more is cut off: the caller is told to try again."""
    monkeypatch.setattr(peering, "SILENT_SECONDS_MAX", 0.1)
    async with pair() as p, silent_server() as (silent, _):
        p.cluster.address = silent
        answer = await p.here.post(f"{QUEUE}/poll?server=other", POLL)
        assert (503, "UNAVAILABLE") == (answer.status, answer.code)


# ---- deliveries ----


def takes_deliveries(api: Any) -> list[bytes]:
    """Lets an API take deliveries: each is answered with itself, but for `"wrong"`."""
    taken: list[bytes] = []

    async def deliver(body: bytes) -> bytes:
        taken.append(body)
        if body == b'"wrong"':
            raise ServiceError(Code.WRONG_OWNER, "moved", shard=SHARD, address="http://b")
        return body

    api.deliver = deliver
    return taken


async def test_deliveries_reach_the_owner() -> None:
    """Deliveries made together travel together, and each gets its own answer or error."""
    async with pair() as p:
        taken = takes_deliveries(p.there.api)
        peers = Peers(p.cluster, key=KEY)
        try:
            told = await asyncio.gather(
                *[peers.deliver(SHARD, body) for body in (b"1", b'"wrong"', b'{"a":2}')], return_exceptions=True
            )
        finally:
            await peers.close()
        assert [b"1", b'"wrong"', b'{"a":2}'] == taken
        assert (b"1", b'{"a":2}') == (told[0], told[2])
        assert isinstance(told[1], ServiceError)
        assert (Code.WRONG_OWNER, "http://b") == (told[1].code, told[1].details["address"])


async def test_two_batches_do_not_want_the_same_deliveries() -> None:
    """Of two that begin at once the second may find that the first has taken everything."""
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    async with pair() as p:
        takes_deliveries(p.there.api)
        peers = Peers(p.cluster, key=KEY)
        await asyncio.gather(*[peers.deliver(SHARD, b"1") for _ in range(3)])
        await peers.close()
        del peers
        gc.collect()
    assert [] == unheard


async def test_a_delivery_to_nobody_is_refused() -> None:
    """Without an owner the sender keeps what it owes, and a fresh look is asked for."""
    async with pair() as p:
        p.cluster.address = ""
        peers = Peers(p.cluster, key=KEY)
        with pytest.raises(ServiceError, match="nobody is known"):
            await peers.deliver(SHARD, b"1")
        await peers.close()
        assert 1 == p.cluster.looks


async def test_a_delivery_to_a_dead_server_is_refused() -> None:
    """A server that does not listen takes nothing, and says so to the sender's lane."""
    async with pair() as p:
        p.cluster.address = "http://127.0.0.1:1"
        peers = Peers(p.cluster, key=KEY)
        with pytest.raises(ServiceError, match="did not take it"):
            await peers.deliver(SHARD, b"1")
        await peers.close()


async def test_only_the_cluster_delivers() -> None:
    """Without the cluster's key nobody can say what a workflow's child came to."""
    async with pair() as p:
        taken = takes_deliveries(p.there.api)
        assert "UNAUTHENTICATED" == (await p.there.post(DELIVER_PATH, ["x"])).code
        stranger = Peers(p.cluster, key=b"another key")
        with pytest.raises(ServiceError, match="did not take it"):
            await stranger.deliver(SHARD, b"1")
        await stranger.close()
        assert [] == taken
