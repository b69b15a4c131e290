"""Long polls: connections that close, and a server that goes away."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from perdure_proto.errors import Code, ServiceError
from perdure_server.frontend import OutcomeWait
from tests.unit.server.frontend.doubles import Answer, House, can_connect, house

WORKFLOW = "/api/v1/namespaces/default/workflows/w"
POLL = "/api/v1/namespaces/default/task-queues/q/poll"


async def begin(h: House, name: str, target: str, body: Any = None) -> asyncio.Task[Answer]:
    """Send a request whose operation waits, and return when it does."""
    h.api.waits[name] = asyncio.Event()
    request = asyncio.create_task(h.get(target) if body is None else h.post(target, body))
    await h.api.waiting.wait()
    return request


async def test_a_closed_connection_ends_a_poll() -> None:
    """The poll of a worker that is gone is cancelled, so that it takes no tasks."""
    async with house() as h:
        request = await begin(h, "poll", POLL, {"session": "s", "sequence": 1})
        request.cancel()
        await h.api.cancelled.wait()


async def test_a_closed_connection_ends_a_wait() -> None:
    """A client that is gone waits for nothing."""
    async with house() as h:
        request = await begin(h, "workflow_result", f"{WORKFLOW}/result?wait=PT20S")
        request.cancel()
        await h.api.cancelled.wait()


async def test_a_wait_ends_with_its_answer() -> None:
    """A long poll is answered as soon as there is something."""
    async with house() as h:
        request = await begin(h, "workflow_result", f"{WORKFLOW}/result?wait=PT20S")
        h.api.waits["workflow_result"].set()
        assert "COMPLETED" == (await request).body["status"]


async def test_an_error_ends_a_wait() -> None:
    """A long poll that fails tells the error."""
    async with house() as h:
        h.api.fails["history"] = ServiceError(Code.WRONG_OWNER, "moved")
        assert "WRONG_OWNER" == (await h.get(f"{WORKFLOW}/history?wait=PT20S")).code


async def test_draining_answers_long_polls() -> None:
    """A server that goes away answers a waiting result with what is known, and closes the connection."""
    async with house() as h:
        request = await begin(h, "workflow_result", f"{WORKFLOW}/result?run_id=r&wait=PT20S")
        port = h.frontend.port
        await h.frontend.drain()
        answer = await request
        assert (200, "close") == (answer.status, answer.headers["Connection"])
        assert ("default", "w", "r", 0.0) == h.api.last("workflow_result")
        assert not can_connect(port)


async def test_draining_tells_the_stage_of_an_update() -> None:
    """A waiting update is answered with the stage it has reached."""
    async with house() as h:
        request = await begin(
            h, "update_workflow", f"{WORKFLOW}/update/n", {"update_id": "u", "wait_for_stage": "ACCEPTED"}
        )
        await h.frontend.drain()
        assert 200 == (await request).status
        assert ("default", "w", "u", OutcomeWait(stage="ACCEPTED")) == h.api.last("update_outcome")


async def test_draining_sends_a_late_update_elsewhere() -> None:
    """An update that was not admitted before the drain is to be repeated."""
    async with house() as h:
        h.api.fails["update_outcome"] = ServiceError(Code.UPDATE_NOT_FOUND, "no update 'u'")
        request = await begin(h, "update_workflow", f"{WORKFLOW}/update/n", {"update_id": "u"})
        await h.frontend.drain()
        assert (503, "UNAVAILABLE") == ((await request).status, (await request).code)


async def test_draining_lets_an_update_without_id_go_on() -> None:
    """An update that cannot be asked for again is waited for."""
    async with house() as h:
        request = await begin(h, "update_workflow", f"{WORKFLOW}/update/n", {})
        await h.frontend.drain()
        h.api.waits["update_workflow"].set()
        assert 200 == (await request).status


async def test_draining_asks_an_update_with_start_again_without_a_wait() -> None:
    """What it has done is found by its two ids; without them it goes on."""
    both = {"start": {"workflow_type": "order", "request_id": "r"}, "update": {"update_id": "u"}}
    async with house() as h:
        request = await begin(h, "update_with_start", f"{WORKFLOW}/update-with-start/n", both)
        h.api.waits.clear()
        await h.frontend.drain()
        assert 200 == (await request).status
        assert timedelta(0) == h.api.last("update_with_start")[-1].update.wait
    async with house() as h:
        both["start"].pop("request_id")
        request = await begin(h, "update_with_start", f"{WORKFLOW}/update-with-start/n", both)
        await h.frontend.drain()
        h.api.waits["update_with_start"].set()
        assert 200 == (await request).status


async def test_closing_waits_for_what_is_in_progress() -> None:
    """A poll that matching ends while the server closes is answered."""
    async with house() as h:
        request = await begin(h, "poll", POLL, {"session": "s", "sequence": 1})
        closing = asyncio.create_task(h.frontend.close())
        h.api.waits["poll"].set()
        assert 200 == (await request).status
        await closing
