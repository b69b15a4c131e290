"""Who is let in while others are under way, and while the database does not keep up."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from perdure_proto.channel import decode_answers, encode_request, frame
from perdure_proto.errors import Code, ServiceError
from perdure_server.config import EngineSettings, Limits, ServerSettings
from perdure_server.frontend import handlers
from perdure_server.frontend.admission import FREE, OF_WORKERS, Admission, Room
from perdure_server.frontend.examples import REQUESTS
from perdure_server.frontend.port import NoBacklog
from perdure_server.frontend.routes import ROUTES, Route
from tests.unit.server.frontend.doubles import house, with_limits

NAMESPACE = "/api/v1/namespaces/default"
WORKFLOW = f"{NAMESPACE}/workflows/w"
RESULT = f"{WORKFLOW}/result?wait=PT20S"
BOUNDS = EngineSettings(
    commits_waiting_max=10, commits_waiting_bytes_max=1_000, work_waiting_max=20, work_waiting_bytes_max=2_000
)


class FixedBacklog(Struct):
    """So much waits for the database."""

    runs: int = 0
    bytes: int = 0
    is_away: bool = False


def route_of(handler: handlers.Handler) -> Route:
    return next(route for route in ROUTES if route.handler is handler)


START = route_of(handlers.start_workflow)
RESPOND = route_of(handlers.respond)


def admission(backlog: FixedBacklog | NoBacklog, **limits: Any) -> Admission:
    return Admission(ServerSettings(engine=BOUNDS, limits=Limits(**limits)), backlog)


def refused(door: Admission, route: Route, size: int = 0) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        door.enter(route, size)
    return caught.value


@pytest.mark.parametrize(
    ("backlog", "limit", "maximum"),
    [
        (FixedBacklog(runs=10), "commits_waiting_max", 10),
        (FixedBacklog(bytes=1_000), "commits_waiting_bytes_max", 1_000),
    ],
)
def test_a_start_is_refused_at_the_bound_of_the_backlog(backlog: FixedBacklog, limit: str, maximum: int) -> None:
    """The refusal names the limit, says that nothing was done, and when to come back; work is let in all the same."""
    door = admission(backlog)
    error = refused(door, START)
    assert (Code.RESOURCE_EXHAUSTED, 429) == (error.code, error.status)
    assert {"limit": limit, "max": maximum, "retry_after": 1} == error.details
    assert "Nothing was done" in error.message
    door.enter(RESPOND, 0)
    door.check_delivery()


def test_work_is_refused_at_a_bound_of_its_own() -> None:
    """Responds are refused at the higher bound, polls never, and deliveries with a code that is no outcome."""
    door = admission(FixedBacklog(runs=20))
    assert "work_waiting_max" == refused(door, RESPOND).details["limit"]
    door.enter(route_of(handlers.poll), 0)
    with pytest.raises(ServiceError) as caught:
        door.check_delivery()
    assert Code.UNAVAILABLE is caught.value.code


def test_a_database_that_is_away_is_another_refusal() -> None:
    """503 says that the database cannot be reached; below the bound requests still wait for it."""
    assert Code.UNAVAILABLE is refused(admission(FixedBacklog(runs=10, is_away=True)), START).code
    admission(FixedBacklog(runs=9, is_away=True)).enter(START, 0)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_only_what_adds_to_the_log_minds_the_backlog(route: Route) -> None:
    """With the backlog at all bounds: reads, waits, queries, polls and questions about the server are let in."""
    adds = route.method == "POST" and route.handler not in {handlers.poll, handlers.query_workflow, handlers.leave}
    door = admission(FixedBacklog(runs=20, bytes=2_000))
    if adds:
        refused(door, route)
    else:
        door.enter(route, 0)


def test_rooms_are_counted_apart() -> None:
    """A room that is full refuses by its own name, and the others take more; who leaves makes room."""
    door = admission(NoBacklog(), writes_under_way_max=1, reads_under_way_max=1)
    room = door.enter(START, 0)
    assert "writes_under_way_max" == refused(door, START).details["limit"]
    door.enter(route_of(handlers.describe_workflow), 0)
    door.enter(route_of(handlers.workflow_result), 0)
    door.enter(RESPOND, 0)
    room.leave(0)
    door.enter(START, 0)


def test_bytes_are_bounded_and_one_alone_fits() -> None:
    """The bytes of bodies under way are bounded; a body that is over the bound by itself is let in alone."""
    room = Room("writes_under_way_max", 10, 100)
    room.enter(500)
    with pytest.raises(ServiceError) as caught:
        room.enter(1)
    assert "bodies_bytes_max" == caught.value.details["limit"]
    room.leave(500)
    room.enter(60)
    room.enter(40)
    assert (2, 100) == (room.requests, room.bytes)


def test_handlers_of_each_kind_have_routes() -> None:
    """No name in the lists of the door is out of date."""
    assert set() == (OF_WORKERS | FREE) - {route.handler for route in ROUTES}


async def test_a_refusal_over_http_has_the_header() -> None:
    """A start beyond the room is answered 429 with Retry-After, before anything is asked of the engine."""
    async with house(with_limits(writes_under_way_max=0)) as at:
        answer = await at.post(WORKFLOW, REQUESTS["start_workflow"])
        assert (429, "RESOURCE_EXHAUSTED", "1") == (answer.status, answer.code, answer.headers["Retry-After"])
        assert [] == at.api.asked
        assert 200 == (await at.get(WORKFLOW)).status


async def test_a_refusal_over_a_channel_has_it_in_its_details() -> None:
    """In a frame there are no headers: the details say when to come back."""
    async with house(with_limits(writes_under_way_max=0)) as at:
        socket = await at.client.ws_connect(f"{at.address}/api/v1/channel")
        body = msgspec.json.encode(REQUESTS["start_workflow"])
        await socket.send_bytes(frame([encode_request(1, "POST", WORKFLOW, body)]))
        (answer,) = decode_answers(await socket.receive_bytes())
        assert (429, 1) == (answer.status, msgspec.json.decode(answer.body)["details"]["retry_after"])
        await socket.close()


async def test_who_is_answered_or_goes_away_makes_room() -> None:
    """A wait counts while it lasts, and no longer when its caller has gone."""
    async with house(with_limits(waits_under_way_max=1)) as at:
        at.api.waits["workflow_result"] = asyncio.Event()
        waiting = asyncio.create_task(at.get(RESULT))
        await at.api.waiting.wait()
        assert 429 == (await at.get(RESULT)).status
        waiting.cancel()
        await at.api.cancelled.wait()
        at.api.waits["workflow_result"].set()
        assert 200 == (await at.get(RESULT)).status


async def test_a_body_that_does_not_come_is_given_up() -> None:
    """Whoever sends half a body and stops is told so after a while, and nothing was asked of the engine."""
    async with house(with_limits(body_within=timedelta(seconds=0.05))) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.frontend.port)
        head = f"POST {WORKFLOW} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        writer.write(f'{head}Content-Length: 100\r\n\r\n{{"workflow_type":'.encode())
        assert b"HTTP/1.1 504 Gateway Timeout\r\n" == await reader.readline()
        assert [] == at.api.asked
        writer.close()
        await writer.wait_closed()
