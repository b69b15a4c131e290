"""Waitpoints as users write them: by token and URL, once, in time, with a value of the right type."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from perdure.client import WorkflowHandle
from perdure.exceptions import RPCError
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_waitpoints as program
from tests.programs.model_waitpoints import Decision, approval, token, two

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, (), request.param) as running:
        yield running


async def started(stack: Stack, *args: object) -> tuple[WorkflowHandle[Any], str, str]:
    """A workflow that waits, its token and its URL."""
    handle = await stack.client.start_workflow("approval", *args, id=stack.new_id(), task_queue=stack.task_queue)
    text, url = await handle.query(token)
    return handle, text, url


async def post(url: str, body: bytes) -> tuple[int, Any]:
    """What a webhook would send: no key, no header of ours."""
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as answer:
        return answer.status, await answer.json()


async def test_whoever_has_the_url_completes_it(stack: Stack) -> None:
    """A POST with a JSON value is all; the workflow gets it as its type, and it is a signal in the log."""
    handle, text, url = await started(stack)
    assert url.startswith("http://127.0.0.1:")
    assert 200 == (await post(url, b'{"ok": true, "why": "paid"}'))[0]
    assert "yes paid" == await handle.result()
    events: list[Any] = list((await handle.fetch_history()).events)
    (signal,) = [event for event in events if event.event_type == "WorkflowExecutionSignaled"]
    assert (text, "__waitpoint/1/approval") == (signal.request_id, signal.signal_name)


async def test_a_client_completes_it_by_token(stack: Stack) -> None:
    """With a value of any type that can be written."""
    handle, text, _ = await started(stack)
    await stack.client.resume_waitpoint(text, Decision(ok=False, why="nul \0 and 😀"))
    assert "no nul \0 and 😀" == await handle.result()


async def test_it_is_completed_once(stack: Stack) -> None:
    """The same again is answered as before, also after the end; another value is told that it is too late."""
    handle, text, url = await started(stack)
    first = await post(url, b'{"ok": true}')
    assert first == await post(url, b'{ "ok" : true }')
    await handle.result()
    assert first == await post(url, b'{"ok": true}')
    status, answer = await post(url, b'{"ok": false}')
    assert (409, "WAITPOINT_USED") == (status, answer["code"])
    with pytest.raises(RPCError) as caught:
        await stack.client.resume_waitpoint(text)
    assert "WAITPOINT_USED" == caught.value.code


async def test_its_time_may_be_over(stack: Stack) -> None:
    """The workflow goes on with a timeout, and the token is refused."""
    handle, _, url = await started(stack, 0.01)
    async for event in handle.events(follow=True):
        if event.event_type == "TimerFired":
            break
    status, answer = await post(url, b'{"ok": true}')
    assert (410, "WAITPOINT_EXPIRED") == (status, answer["code"])
    await handle.signal("go")
    assert "late" == await handle.result()


async def test_a_token_that_was_changed_opens_nothing(stack: Stack) -> None:
    """Nor does any other text."""
    handle, text, url = await started(stack)
    root = url.removesuffix(text)
    flipped = text[:5] + ("A" if text[5] != "A" else "B") + text[6:]
    for wrong in (flipped, text[:-1], text + "=", "x", "%C3%A9"):
        status, answer = await post(root + wrong, b'{"ok": true}')
        assert (403, "WAITPOINT_TOKEN_INVALID") == (status, answer["code"]), wrong
    await handle.terminate()


async def test_a_run_that_has_ended_waits_for_nothing(stack: Stack) -> None:
    """Its token is refused by name."""
    handle, _, url = await started(stack)
    await handle.terminate()
    status, answer = await post(url, b'{"ok": true}')
    assert (409, "WORKFLOW_CLOSED") == (status, answer["code"])


async def test_a_value_of_another_type_is_told_to_the_workflow(stack: Stack) -> None:
    """There will be no other value, so it is not dropped."""
    handle, _, url = await started(stack)
    assert 200 == (await post(url, b"3"))[0]
    assert (await handle.result()).startswith("INVALID_ARGUMENT: ")


async def test_what_is_no_json_changes_nothing(stack: Stack) -> None:
    """It is refused, and the waitpoint waits on."""
    handle, _, url = await started(stack)
    status, answer = await post(url, b"{ok}")
    assert (400, "MALFORMED_JSON") == (status, answer["code"])
    await post(url, b'{"ok": true}')
    assert "yes" == await handle.result()


async def test_a_name_may_be_used_again(stack: Stack) -> None:
    """Each is a waitpoint of its own, and no signal handler hears of it."""
    handle = await stack.client.start_workflow(two, id=stack.new_id(), task_queue=stack.task_queue)
    first, second = await handle.query(token)
    await stack.client.resume_waitpoint(second, 2)
    await stack.client.resume_waitpoint(first, 1)
    assert [1, 2] == await handle.result()


async def test_nobody_can_signal_a_waitpoint(stack: Stack) -> None:
    """The name is the service's."""
    handle, _, _ = await started(stack)
    with pytest.raises(RPCError, match="resume by token"):
        await handle.signal("__waitpoint/1/approval", {"ok": True})
    await handle.terminate()


async def test_a_token_is_the_same_on_every_replay(stack: Stack) -> None:
    """Whichever worker has the workflow."""
    handle, text, _ = await started(stack)
    assert text == (await handle.query(token))[0]
    assert approval.name == (await handle.describe()).workflow_type
    await handle.terminate()


async def test_pending_ones_are_told(stack: Stack) -> None:
    """With the token and the URL that complete them, until somebody has."""
    handle, text, url = await started(stack)
    [pending] = await handle.waitpoints()
    assert ("approval", text, url) == (pending.name, pending.token, pending.url)
    await stack.client.resume_waitpoint(pending.token, Decision(ok=True, why="asked"))
    assert "yes asked" == await handle.result()
    assert [] == await handle.waitpoints()
