"""Bad input over real HTTP: each is refused with its code, nothing is half done, and others are not disturbed."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from perdure import Client
from perdure.exceptions import (
    ConversionError,
    RPCError,
    WorkflowAlreadyStartedError,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from perdure_proto.errors import Code
from perdure_worker import Worker
from tests.integration.model.stack import Stack, served
from tests.invariants import check_database
from tests.postgres import fresh_database
from tests.programs import model_messages as program
from tests.programs.model_messages import account, add

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

QUEUE = "model"
IDLE_QUEUE = "nobody"
ROOT = "/api/v1/namespaces/default"
ID_LENGTH_MAX = 255
PAYLOAD_BYTES_MAX = 2 * 1024 * 1024
BODY_BYTES_MAX = 8 * 1024 * 1024
START = {"workflow_type": "account", "input": [10], "task_queue": IDLE_QUEUE}


class Caller:
    """Plain HTTP, as somebody without the SDK speaks it."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self._address = address
        self._session = session

    async def post(self, path: str, body: object) -> tuple[int, dict[str, Any]]:
        return await self.post_bytes(path, json.dumps(body).encode())

    async def post_bytes(self, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
        headers = {"content-type": "application/json", **headers}
        return await self._answer("POST", path, data=io.BytesIO(body), headers=headers)

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        return await self._answer("GET", path)

    async def _answer(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        async with self._session.request(method, self._address + path, **options) as answer:
            told: dict[str, Any] = await answer.json()
            return answer.status, told


class Bench(Stack):
    """A stack that also speaks plain HTTP."""

    caller: Caller


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(postgres: str, migrated_template: str) -> AsyncIterator[Bench]:
    async with fresh_database(postgres, template=migrated_template) as dsn:
        async with (
            served(dsn) as address,
            await Client.connect(address) as client,
            aiohttp.ClientSession() as session,
            Worker(client, task_queue=QUEUE, workflows=program.WORKFLOWS, activities=program.ACTIVITIES),
        ):
            bench = Bench(client, dsn, QUEUE)
            bench.caller = Caller(address, session)
            yield bench
        await check_database(dsn)


def refused(code: Code, status: int, answer: tuple[int, dict[str, Any]]) -> bool:
    """Whether an answer is this refusal, with a message."""
    assert (status, code) == (answer[0], answer[1].get("code")), answer
    return bool(answer[1]["message"])


async def not_there(bench: Bench, workflow_id: str) -> bool:
    """Whether a refused start left nothing."""
    return refused(Code.WORKFLOW_NOT_FOUND, 404, await bench.caller.get(f"{ROOT}/workflows/{workflow_id}"))


@pytest.mark.parametrize("path", ["workflows/x", "workflows/x/signal/s", "task-queues/q/poll"])
async def test_an_unknown_namespace_is_refused(bench: Bench, path: str) -> None:
    """Whatever is asked in it."""
    body = {**START, "session": "s", "sequence": 1}
    answer = await bench.caller.post(f"/api/v1/namespaces/nowhere/{path}", body)
    assert refused(Code.NAMESPACE_NOT_FOUND, 404, answer)


@pytest.mark.parametrize("action", ["signal/s", "query/q", "update/u", "cancel", "terminate"])
async def test_an_unknown_workflow_is_refused(bench: Bench, action: str) -> None:
    """Whatever is asked of it."""
    answer = await bench.caller.post(f"{ROOT}/workflows/nobody/{action}", {"update_id": "u-1"})
    assert refused(Code.WORKFLOW_NOT_FOUND, 404, answer)


@pytest.mark.parametrize("run_id", ["01a1f82f-0000-7000-8000-000000000000", "not-an-id"])
@pytest.mark.parametrize("action", ["", "/result", "/history"])
async def test_an_unknown_run_is_refused(bench: Bench, run_id: str, action: str) -> None:
    """Also when there is a run of that workflow."""
    workflow_id = bench.new_id()
    await bench.client.start_workflow(account, 1, id=workflow_id, task_queue=IDLE_QUEUE)
    answer = await bench.caller.get(f"{ROOT}/workflows/{workflow_id}{action}?run_id={run_id}")
    assert refused(Code.WORKFLOW_NOT_FOUND, 404, answer)


async def test_an_unknown_query_is_refused(bench: Bench) -> None:
    """With the names that there are."""
    handle = await bench.client.start_workflow(account, 1, task_queue=QUEUE)
    with pytest.raises(WorkflowQueryFailedError, match="total"):
        await handle.query("nothing")


async def test_an_unknown_update_is_refused(bench: Bench) -> None:
    """A name without a handler, and an id that was never sent."""
    handle = await bench.client.start_workflow(account, 1, task_queue=QUEUE)
    with pytest.raises(WorkflowUpdateFailedError, match="failed"):
        await handle.execute_update("nothing")
    with pytest.raises(RPCError) as caught:
        await handle.get_update_handle("never-sent").result()
    assert Code.UPDATE_NOT_FOUND == caught.value.code


async def test_a_type_that_no_worker_knows_waits_and_says_so(bench: Bench) -> None:
    """The task stays where it is, and a worker that knows it may come later."""
    handle = await bench.client.start_workflow("unheard_of", task_queue=QUEUE)
    task = (await handle.describe()).pending_workflow_task
    assert task is not None
    assert ("SCHEDULED", True) == (task.state, "unheard_of" in task.note)
    await handle.terminate()


async def test_arguments_that_do_not_fit_are_refused_where_they_are_given(bench: Bench) -> None:
    """The SDK knows the signature and names the argument; nothing is started."""
    workflow_id = bench.new_id()
    with pytest.raises(ConversionError, match="opening"):
        await bench.client.start_workflow(account, "ten", id=workflow_id)  # type: ignore[arg-type]
    assert await not_there(bench, workflow_id)


@pytest.mark.parametrize("arguments", [["ten"], [], [1, 2]])
async def test_arguments_that_do_not_fit_fail_the_workflow(bench: Bench, arguments: list[object]) -> None:
    """A caller that does not know the signature gets an `INVALID_ARGUMENT` failure."""
    with pytest.raises(WorkflowFailureError) as caught:
        await bench.client.execute_workflow("account", *arguments, task_queue=QUEUE)
    assert "INVALID_ARGUMENT" == getattr(caught.value.cause, "type", None)


async def test_an_update_whose_arguments_do_not_fit_is_refused(bench: Bench) -> None:
    """The workflow goes on."""
    handle = await bench.client.start_workflow(account, 1, task_queue=QUEUE)
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("add", "ten")
    assert 3 == await handle.execute_update(add, 2)


async def test_a_payload_over_the_limit_is_refused(bench: Bench) -> None:
    """The limit is in the message, and nothing is started."""
    answer = await bench.caller.post(f"{ROOT}/workflows/fat", {**START, "input": ["x" * PAYLOAD_BYTES_MAX]})
    assert refused(Code.PAYLOAD_TOO_LARGE, 413, answer)
    assert str(PAYLOAD_BYTES_MAX) in answer[1]["message"]
    assert await not_there(bench, "fat")


async def test_a_payload_just_below_the_limit_is_taken(bench: Bench) -> None:
    """It comes back as it was."""
    text = "x" * (PAYLOAD_BYTES_MAX - 100)
    handle = await bench.client.start_workflow("untyped", 1, task_queue=QUEUE)
    await handle.signal("note", text)
    assert [["note", text]] == (await handle.result())["heard"]


async def test_an_id_over_the_limit_is_refused(bench: Bench) -> None:
    """In the path and in the body; the longest allowed is taken."""
    longest = "i" * ID_LENGTH_MAX
    assert refused(Code.ID_TOO_LONG, 400, await bench.caller.post(f"{ROOT}/workflows/{longest}i", START))
    body = {**START, "workflow_type": f"{longest}t"}
    assert refused(Code.ID_TOO_LONG, 400, await bench.caller.post(f"{ROOT}/workflows/typed", body))
    body = {**START, "request_id": f"{longest}r"}
    assert refused(Code.ID_TOO_LONG, 400, await bench.caller.post(f"{ROOT}/workflows/typed", body))
    assert await not_there(bench, "typed")
    assert 200 == (await bench.caller.post(f"{ROOT}/workflows/{longest}", START))[0]


async def test_a_body_over_the_limit_is_refused(bench: Bench) -> None:
    """Before it is read to its end."""
    answer = await bench.caller.post_bytes(f"{ROOT}/workflows/fat", b" " * (BODY_BYTES_MAX + 1))
    assert refused(Code.BODY_TOO_LARGE, 413, answer)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"workflow_type": ', Code.MALFORMED_JSON),
        (b"\xff\xfe", Code.MALFORMED_JSON),
        (b"[1]", Code.INVALID_ARGUMENT),
        (b"{}", Code.INVALID_ARGUMENT),
        (b'{"workflow_type": 3}', Code.INVALID_ARGUMENT),
        (b'{"workflow_type": ""}', Code.INVALID_ARGUMENT),
        (b'{"workflow_type": "account", "input": {"a": 1}}', Code.INVALID_ARGUMENT),
        (b'{"workflow_type": "account", "workflow_run_timeout": "PT-1S"}', Code.INVALID_ARGUMENT),
        (b'{"workflow_type": "account", "retry_policy": {"backoff_coefficient": 0.5}}', Code.INVALID_ARGUMENT),
        (b'{"workflow_type": "account", "id_reuse_policy": "whatever"}', Code.INVALID_ARGUMENT),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused(bench: Bench, body: bytes, code: Code) -> None:
    """No JSON, another shape, a value out of range; nothing is started."""
    assert refused(code, 400, await bench.caller.post_bytes(f"{ROOT}/workflows/senseless", body))
    assert await not_there(bench, "senseless")


async def test_a_client_of_another_protocol_is_refused(bench: Bench) -> None:
    """It is told which versions do not match."""
    answer = await bench.caller.post_bytes(f"{ROOT}/workflows/x", b"{}", **{"perdure-protocol": "0"})
    assert refused(Code.PROTOCOL_VERSION, 426, answer)


async def poll(bench: Bench, queue: str, session: str, sequence: int = 1) -> dict[str, Any]:
    """The first task that a new worker gets."""
    who = {"identity": session, "workflow_types": ["account"], "activity_types": []}
    body = {"session": session, "sequence": sequence, "workflow_slots": 1, "wait": "PT10S", "worker": who}
    status, answer = await bench.caller.post(f"{ROOT}/task-queues/{queue}/poll", body)
    assert status == 200, answer
    (task,) = answer["tasks"]
    return dict(task)


async def complete(bench: Bench, queue: str, session: str, sequence: int, token: str) -> dict[str, Any]:
    """What became of a completion without commands."""
    completion = {"completion_type": "WorkflowTaskCompletion", "token": token}
    body = {"session": session, "sequence": sequence, "acknowledged": [1], "completions": [completion]}
    status, answer = await bench.caller.post(f"{ROOT}/task-queues/{queue}/respond", body)
    assert status == 200, answer
    (result,) = answer["results"]
    return dict(result)


async def test_a_duplicate_completion_is_refused_and_a_repeated_one_answered(bench: Bench) -> None:
    """The same request again gets its answer; another for the same task gets `TASK_NOT_FOUND`."""
    queue = bench.new_id()
    handle = await bench.client.start_workflow(account, 1, task_queue=queue)
    task = await poll(bench, queue, "worker-of-duplicates")
    first = await complete(bench, queue, "worker-of-duplicates", 2, task["token"])
    again = await complete(bench, queue, "worker-of-duplicates", 2, task["token"])
    other = await complete(bench, queue, "worker-of-duplicates", 3, task["token"])
    assert ({}, {}, "TASK_NOT_FOUND") == (first, again, other.get("code"))
    assert 4 == len((await handle.fetch_history()).events)
    await handle.terminate()


async def test_a_stale_token_is_refused(bench: Bench) -> None:
    """Of a run that has closed, and one that nobody ever gave out; nothing is written."""
    queue = bench.new_id()
    handle = await bench.client.start_workflow(account, 1, task_queue=queue)
    task = await poll(bench, queue, "worker-of-stale-tokens")
    await handle.terminate()
    before = len((await handle.fetch_history()).events)
    for sequence, token in enumerate([task["token"], "made up"], 2):
        result = await complete(bench, queue, "worker-of-stale-tokens", sequence, token)
        assert result.get("code") in {"TASK_NOT_FOUND", "INVALID_ARGUMENT"}, result
    assert before == len((await handle.fetch_history()).events)


async def test_a_request_of_an_unknown_session_is_refused(bench: Bench) -> None:
    """A worker has to say who it is first."""
    body = {"session": "stranger", "sequence": 5, "completions": []}
    answer = await bench.caller.post(f"{ROOT}/task-queues/{QUEUE}/respond", body)
    assert refused(Code.SESSION_UNKNOWN, 409, answer)


@pytest.mark.parametrize("text", ["nul \x00 byte", "lone \ud800 surrogate"])
async def test_text_that_postgres_does_not_take_is_kept_or_refused(bench: Bench, text: str) -> None:
    """Such a value in a payload comes back as it was, or is refused with a code; the workflow goes on either way."""
    handle = await bench.client.start_workflow("untyped", 1, task_queue=QUEUE)
    status, told = await bench.caller.post(f"{ROOT}/workflows/{handle.id}/signal/note", {"input": [text]})
    if status != 200:
        assert (400, True) == (status, told["code"] in {Code.VALUE_REFUSED, Code.MALFORMED_JSON}), told
        text = "plain"
        await handle.signal("note", text)
    assert [["note", text]] == (await handle.result())["heard"]


@pytest.mark.parametrize(
    "bad",
    [
        {"memo": {"text": "nul \x00 byte"}},
        {"workflow_type": "nul \x00 byte"},
        {"task_queue": "nul \x00 byte"},
        {"request_id": "nul \x00 byte"},
        {"search_attributes": {"text": "nul \x00 byte"}},
    ],
    ids=lambda bad: next(iter(bad)),
)
async def test_a_refused_value_does_not_fail_others_in_its_batch(bench: Bench, bad: dict[str, Any]) -> None:
    """Of many starts at once only the one with a value that Postgres refuses can fail, and it leaves nothing."""
    ids = [bench.new_id() for _ in range(21)]
    bodies = [START] * 10 + [{**START, **bad}] + [START] * 10
    posts = zip(ids, bodies, strict=True)
    answers = await asyncio.gather(*(bench.caller.post(f"{ROOT}/workflows/{one}", body) for one, body in posts))
    status, told = answers.pop(10)
    assert [200] * 20 == [other for other, _ in answers]
    assert (status, told.get("code")) in {
        (400, Code.VALUE_REFUSED),
        (400, Code.INVALID_ARGUMENT),
        (200, None),
    }
    assert status == 200 or await not_there(bench, ids[10])


async def test_a_filter_with_a_value_that_postgres_refuses_is_refused(bench: Bench) -> None:
    """A list is asked for with a NUL in it."""
    status, told = await bench.caller.get(f"{ROOT}/workflows?query=WorkflowId%3D%22a%00b%22")
    assert (400, True) == (status, told["code"] in {Code.VALUE_REFUSED, Code.INVALID_ARGUMENT}), told


async def test_an_id_in_use_is_refused(bench: Bench) -> None:
    """With the run that has it."""
    handle = await bench.client.start_workflow(account, 1, id="in use", task_queue=IDLE_QUEUE)
    with pytest.raises(WorkflowAlreadyStartedError) as caught:
        await bench.client.start_workflow(account, 1, id="in use", task_queue=IDLE_QUEUE)
    assert handle.first_execution_run_id == caught.value.run_id
