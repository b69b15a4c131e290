"""A worker with several servers: links that come and go, completions that follow their tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.exceptions import RPCError
from perdure_proto.errors import Code, ServiceError
from perdure_proto.tasks import (
    ActivityHeartbeat,
    ActivityTaskCompletion,
    CompletionResult,
    ListHeld,
    TaskReturned,
    WorkerInfo,
)
from perdure_worker import completions
from tests.unit.worker.linked import Linked, greet, id_in, linked, quick, task, until
from tests.unit.worker.service import Service
from tests.unit.worker.wired import activity_task

__all__ = ["quick"]

pytestmark = pytest.mark.usefixtures("quick")


@activity.defn
async def wait() -> None:
    await asyncio.Event().wait()


@workflow.defn
async def hello() -> None: ...


def waiting(token: str) -> Any:
    return activity_task(token, activity_type="wait")


def wrong(owner: str = "") -> CompletionResult:
    return CompletionResult(code=Code.WRONG_OWNER, message="not mine", owner=owner)


@asynccontextmanager
async def refusing(there: Linked, name: str, result: CompletionResult) -> AsyncIterator[None]:
    """A service gives each completion this result."""

    async def refuse() -> None:
        while True:
            (await there.respond(name)).results(result)

    refusals = asyncio.create_task(refuse())
    try:
        yield
    finally:
        refusals.cancel()


async def test_every_member_is_polled_in_one_session() -> None:
    """The worker introduces itself to each server, by the same session id, and no number is used twice."""
    async with linked("a", "b") as there:
        first, second = await there.meet("a"), await there.meet("b")
        assert first.session == second.session
        numbers = [first.sequence, second.sequence, *[there.polls[name].request.sequence for name in "ab"]]
        assert 4 == len(set(numbers))


async def test_one_member_is_polled_where_the_client_was_told() -> None:
    """With one server there is one link, and nothing is sent elsewhere."""
    async with linked("a", "b", listed=("a",)) as there:
        await there.meet("a")
        await until(lambda: there.services["a"].looks > 3)
        assert there.services["b"].polls.empty()
        assert there.services["a"].polls.empty()


async def test_an_older_service_is_polled_as_ever() -> None:
    """A service that does not tell who is there has one link."""
    async with linked("a", listed=()) as there:
        there.services["a"].cluster = None
        await there.meet("a")


async def test_a_new_member_is_told_what_is_held() -> None:
    """The introduction to a server that came later lists the tasks of all links."""
    async with linked("a", "b", listed=("a",), activities=[wait]) as there:
        await there.meet("a")
        await there.give("a", waiting("t"))
        there.list("a", "b")
        held = [introduced.worker.held for introduced in (await there.meet("a"), await there.meet("b"))]  # type: ignore[union-attr]
        assert [("t",), ("t",)] == held


async def test_a_completion_goes_where_the_task_came_from() -> None:
    """Each link brings back what it brought."""
    async with linked("a", "b") as there:
        for name in "ab":
            await there.meet(name)
        await there.give("b", task("of b"))
        (await there.respond("b")).answer()
        await there.give("a", task("of a"))
        respond = await there.respond("a")
        assert ["of a"] == respond.tokens
        respond.answer()


async def test_a_completion_follows_its_shard() -> None:
    """A server that does not own the task any more names the owner, and the completion goes there."""
    async with linked("a", "b") as there:
        for name in "ab":
            await there.meet(name)
        await there.give("a", task("t"))
        refused = await there.respond("a")
        refused.results(wrong(there.services["b"].address))
        moved = await there.respond("b")
        assert refused.request.completions == moved.request.completions
        moved.answer()


async def test_an_owner_that_was_not_known_is_linked() -> None:
    """A server of which nothing but its address is known gets a link, and then the completion."""
    async with linked("a", "b", listed=("a",)) as there:
        await there.meet("a")
        await there.give("a", task("t"))
        async with refusing(there, "a", wrong(there.services["b"].address)):
            await there.meet("b")
            moved = await there.respond("b")
        assert ["t"] == moved.tokens
        moved.answer()


async def test_without_an_owner_it_is_asked_again() -> None:
    """While nobody is known the completion is kept, and asked about after a pause."""
    async with linked("a", "b") as there:
        for name in "ab":
            await there.meet(name)
        await there.give("a", task("t"))
        first = await there.respond("a")
        first.results(wrong())
        again = await there.respond("a")
        assert first.request.completions == again.request.completions
        again.answer()


async def test_servers_that_name_each_other_are_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few moves at once there is a pause before the next."""
    monkeypatch.setattr(completions, "PAUSE_SECONDS_FIRST", 3_600.0)
    monkeypatch.setattr(completions, "PAUSE_SECONDS_MAX", 3_600.0)
    async with linked("a", "b", activities=[greet, wait]) as there:
        for name in "ab":
            await there.meet(name)
        await there.give("a", task("t"))
        for n in range(completions.MOVES_MAX + 1):
            at, other = "ab"[n % 2], "ba"[n % 2]
            (await there.respond(at)).results(wrong(there.services[other].address))
        await there.give("a", waiting("u"))
        there.worker._assembly._activities.cancel("u", "PAUSED")  # type: ignore[union-attr]
        assert ["u"] == (await there.respond("a")).tokens
        assert there.services["b"].responds.empty()


async def test_heartbeats_follow_too_and_stay_in_front() -> None:
    """A heartbeat that has to move is answered before the end of its attempt is sent after it."""
    beaten = asyncio.Event()

    @activity.defn
    async def beat() -> None:
        activity.heartbeat(1)
        await beaten.wait()

    async with linked("a", "b", activities=[beat]) as there:
        for name in "ab":
            await there.meet(name)
        await there.give("a", activity_task("t", activity_type="beat"))
        heartbeat = await there.respond("a")
        beaten.set()
        end = await there.respond("a")
        end.results(wrong(there.services["b"].address))
        assert isinstance(heartbeat.request.completions[0], ActivityHeartbeat)
        heartbeat.results(wrong(there.services["b"].address))
        first = await there.respond("b")
        assert heartbeat.request.completions == first.request.completions
        assert there.services["b"].responds.empty()
        first.answer()
        last = await there.respond("b")
        assert isinstance(last.request.completions[0], ActivityTaskCompletion)
        last.answer()


async def test_what_a_dead_member_has_not_answered_goes_to_another() -> None:
    """When a server is silent and the cluster does not list it any more, its link ends."""
    async with linked("a", "b") as there:
        for name in "ab":
            await there.meet(name)
        await there.give("b", task("t"))
        lost = await there.respond("b")
        await there.die("b")
        there.list("a")
        respond = await there.respond("a")
        assert lost.request.completions == respond.request.completions
        respond.answer()


async def test_what_waits_for_an_introduction_that_nobody_makes_goes_to_another() -> None:
    """A link that ends because more servers came does not keep completions, nor their slots, for ever."""
    async with linked("a", "b", listed=("a",)) as there:
        await there.meet("a")
        await there.give("a", task("t"))
        forgotten = await there.respond("a")
        forgotten.refuse(ServiceError(Code.SESSION_UNKNOWN, "who are you?"))
        await until(lambda: not there.services["a"].polls.empty())
        introduction = await there.services["a"].polls.get()
        assert introduction.request.worker is not None
        there.list("a", "b")
        for name in "ab":
            await there.meet(name)
        respond = await there.respond("a")
        assert forgotten.request.completions == respond.request.completions
        respond.answer()


async def test_a_member_that_is_only_silent_keeps_its_link() -> None:
    """While the cluster lists a server, what it has not answered waits for it."""
    async with linked("a", "b") as there:
        for name in "ab":
            await there.meet(name)
        await there.give("b", task("t"))
        lost = await there.respond("b")
        lost.cut()
        looks = there.services["a"].looks
        await until(lambda: there.services["a"].looks > looks + 3)
        assert there.services["a"].responds.empty()
        again = await there.respond("b")
        assert lost.request == again.request
        again.answer()


async def test_the_held_are_listed_when_a_server_asks() -> None:
    """The request after a `ListHeld` brings the tokens of all links, once."""
    async with linked("a", "b", activities=[wait]) as there:
        for name in "ab":
            await there.meet(name)
        await there.give("a", waiting("t"))
        assert there.polls["a"].request.held is None
        await there.give("b", pushes=(ListHeld(),))
        polls = [there.polls["b"]]
        while polls[-1].request.held is None:  # it may have made one before the push arrived
            polls.append(await there.services["b"].polls.get())
        assert ("t",) == polls[-1].request.held
        for poll in polls:
            poll.answer()
        assert (await there.services["b"].polls.get()).request.held is None


async def test_what_exceeds_the_slots_goes_back() -> None:
    """Two servers that give the same slot's worth of work: the worker takes one task and declines the other."""
    async with linked("a", "b", activities=[wait], max_concurrent_activities=1) as there:
        introductions = [await there.services[name].polls.get() for name in "ab"]
        for introduction, token in zip(introductions, ("first", "second"), strict=True):
            introduction.answer(waiting(token))
            await there.services["ab"[introductions.index(introduction)]].polls.get()
        assert (TaskReturned(token="second"),) == (await there.respond("b")).request.completions


async def test_the_worker_leaves_all_servers() -> None:
    """Each server learns that the session is over."""
    async with linked("a", "b") as there:
        for name in "ab":
            await there.meet(name)
        await there.worker.shutdown()
        assert [1, 1] == [len(there.services[name].left) for name in "ab"]


async def test_one_server_that_refuses_does_not_end_the_worker() -> None:
    """A server that refuses for good is asked again later; the others go on."""
    async with linked("a", "b") as there:
        await there.meet("a")
        (await there.services["b"].polls.get()).refuse(ServiceError(Code.NAMESPACE_NOT_FOUND, "no such namespace"))
        again = (await there.services["b"].polls.get()).request
        assert isinstance(again.worker, WorkerInfo)
        assert there.worker.is_running


async def test_a_refusal_by_all_ends_the_worker() -> None:
    """When no link is left, the reason is raised."""

    async def refused() -> None:
        async with linked("a", "b") as there:
            there.list("a")
            refusal = ServiceError(Code.NAMESPACE_NOT_FOUND, "no such namespace")
            (await there.services["b"].polls.get()).refuse(refusal)
            while True:
                (await there.services["a"].polls.get()).refuse(refusal)

    with pytest.raises(RPCError, match="no such namespace"):
        await refused()


async def test_what_cannot_be_reached_is_asked_through_another() -> None:
    """Behind a load balancer each server has a link of its own, through the address that the client was told."""
    async with linked("a", listed=()) as there:
        for name, port in (("b", 8), ("c", 9)):
            there.services[name] = Service()
            there.services[name].address = f"http://127.0.0.1:{port}"
        there.list("b", "c")
        introduced = [await there.meet(name) for name in "abc"]
        assert 1 == len({request.session for request in introduced})
        await there.give("c", task("t"))
        respond = await there.respond("c")
        assert ["t"] == respond.tokens
        respond.answer()


async def test_an_eager_start_has_a_place_with_the_owner() -> None:
    """The first task of a workflow comes in the session at the server that owns it, and is acknowledged there."""
    async with linked("a", "b", workflows=[hello]) as there:
        there.owners = ["a", "b", "a", "b"]
        there.list("a", "b")
        looks = there.services["a"].looks
        await until(lambda: there.services["a"].looks > looks + 1)
        await there.meet("a")
        starts = there.worker._assembly.eager_starts  # type: ignore[union-attr]
        assert starts.reserve("hello", id_in(1)) is None
        await there.meet("b")
        place = starts.reserve("hello", id_in(1))
        assert place is not None
        task_of_hello = activity_task("t", activity_type="none")
        starts.settle(place, task_of_hello)  # type: ignore[arg-type] # any task does
        assert ["t"] == (await there.respond("b")).tokens
