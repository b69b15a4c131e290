"""Waitpoints in the engine: tokens judged without a worker, and what completes one is a signal like any other."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw

from perdure_proto import commands as c
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import WorkflowExecutionSignaled
from perdure_proto.waitpoint_secret import RotateWaitpointSecretRequest
from perdure_proto.waitpoints import WaitpointToken, key_of, opened, sealed
from tests.engine import NAMESPACE, Cluster, OneServer, Worker, is_waiting

YES = Raw(b'{"ok":true}')
NO = Raw(b'{"ok":false}')


async def token_of(server: OneServer, *, expires_in: timedelta | None = None, **changes: Any) -> str:
    """What a worker would make for the current run."""
    settings = await server.api.waitpoint_settings(NAMESPACE)
    execution = server.run()
    ends = 0 if expires_in is None else int((server.engine.now() + expires_in).timestamp() * 1000)
    fields: dict[str, Any] = {
        "namespace_id": settings.namespace_id,
        "shard_id": execution.key.shard_id,
        "run_id": execution.run_id,
        "number": 1,
        "expires_at_ms": ends,
        "name": "approval",
    }
    return sealed(WaitpointToken(**fields | changes), bytes.fromhex(settings.key))


async def signals(server: OneServer, run_id: str = "") -> list[WorkflowExecutionSignaled]:
    return [event for event in await server.history(run_id=run_id) if isinstance(event, WorkflowExecutionSignaled)]


async def refused(server: OneServer, token: str, value: Raw = YES) -> Code:
    with pytest.raises(ServiceError) as caught:
        await server.api.resume_waitpoint(token, value)
    return caught.value.code


async def test_it_is_a_signal_with_the_token_as_its_request_id(server: OneServer) -> None:
    """Recorded once, and acknowledged when it is durable."""
    started = await server.start()
    token = await token_of(server)
    server.store.gate.clear()
    resuming = asyncio.ensure_future(server.api.resume_waitpoint(token, YES))
    assert await is_waiting(resuming)
    server.store.gate.set()
    assert started.run_id == (await resuming).run_id
    (signal,) = await signals(server)
    expected = ("__waitpoint/1/approval", token, b'[{"ok":true}]')
    assert expected == (signal.signal_name, signal.request_id, bytes(signal.input))


async def test_two_at_once_are_one(server: OneServer) -> None:
    """The first decides; the same value is as good, another is late."""
    await server.start()
    token = await token_of(server)
    resume = server.api.resume_waitpoint
    answers = await asyncio.gather(resume(token, YES), resume(token, YES), resume(token, NO), return_exceptions=True)
    assert answers[0] == answers[1]
    assert isinstance(answers[2], ServiceError)
    assert Code.WAITPOINT_USED == answers[2].code
    assert 1 == len(await signals(server))


async def test_a_repeat_is_known_while_the_first_is_buffered(server: OneServer, worker: Worker) -> None:
    """A task is started, so the signal waits beside the log."""
    await server.start()
    task = await worker.workflow_task()
    token = await token_of(server)
    first = asyncio.ensure_future(server.api.resume_waitpoint(token, YES))
    assert await is_waiting(first)
    assert Code.WAITPOINT_USED == await refused(server, token, NO)
    assert (await first) == await server.api.resume_waitpoint(token, YES)
    await worker.answer(task)
    assert 1 == len(await signals(server))


@pytest.mark.parametrize("closing", [c.CompleteWorkflowExecution(), c.ContinueAsNewWorkflowExecution()])
async def test_a_repeat_is_known_after_all(
    cluster: Cluster, server: OneServer, worker: Worker, closing: c.AnyCommand
) -> None:
    """After a restart, after the end of the run, and after its time."""
    started = await server.start()
    token = await token_of(server, expires_in=timedelta(seconds=10))
    await server.api.resume_waitpoint(token, YES)
    await worker.turn(closing)
    server = await cluster.restart(server)
    server.move(60)
    assert started.run_id == (await server.api.resume_waitpoint(token, YES)).run_id
    assert Code.WAITPOINT_USED == await refused(server, token, NO)
    assert 1 == len(await signals(server, started.run_id))


async def test_its_secret_outlives_the_server(cluster: Cluster, server: OneServer) -> None:
    """Every server of the database takes the token."""
    await server.start()
    token = await token_of(server)
    server = await cluster.restart(server)
    await server.api.resume_waitpoint(token, YES)
    assert 1 == len(await signals(server))


async def test_nothing_is_taken_when_its_time_is_over(server: OneServer) -> None:
    """The server's clock says so, whatever the workflow does."""
    await server.start()
    token = await token_of(server, expires_in=timedelta(seconds=10))
    server.move(9)
    other = await token_of(server, expires_in=timedelta(seconds=1), number=2)
    await server.api.resume_waitpoint(other, YES)
    server.move(1)
    assert Code.WAITPOINT_EXPIRED == await refused(server, token)
    assert 1 == len(await signals(server))


async def test_a_run_that_continued_as_new_waits_no_more(server: OneServer, worker: Worker) -> None:
    """The token is of one run: the next makes its own."""
    await server.start()
    token = await token_of(server)
    await worker.turn(c.ContinueAsNewWorkflowExecution())
    assert Code.WORKFLOW_CLOSED == await refused(server, token)
    assert [] == await signals(server)


async def test_a_token_of_another_namespace_opens_nothing(server: OneServer) -> None:
    """Each has a key of its own, and its number is in the seal."""
    await server.start()
    row = await server.store.create_namespace("other", "", timedelta(days=1))
    server.engine.residents.learn([row])
    for namespace_id in (row.namespace_id, 12345):
        assert Code.WAITPOINT_TOKEN_INVALID == await refused(server, await token_of(server, namespace_id=namespace_id))
    assert [] == await signals(server)


async def test_a_forged_token_costs_no_read(server: OneServer) -> None:
    """It is refused before the run is looked for."""
    await server.start()
    token = await token_of(server, run_id="01980000-0000-7000-8000-00000000000f")
    server.store.gate.clear()
    assert Code.WAITPOINT_TOKEN_INVALID == await refused(
        server, "A" + token[1:] if token[0] != "A" else "B" + token[1:]
    )
    server.store.gate.set()
    assert Code.WORKFLOW_NOT_FOUND == await refused(server, token)


async def test_what_postgres_cannot_read_is_wrapped(server: OneServer) -> None:
    """As the SDK does it; a pair of escaped surrogates is only a character."""
    await server.start()
    await server.api.resume_waitpoint(await token_of(server), Raw(b'"a\\u0000b"'))
    await server.api.resume_waitpoint(await token_of(server, number=2), Raw(b'"\\ud83d\\ude00"'))
    await server.api.resume_waitpoint(await token_of(server), Raw(b'"a\\u0000b"'))
    wrapped, plain = await signals(server)
    assert ("json/base64", b'["ImFcdTAwMDBiIg=="]') == (wrapped.encoding, bytes(wrapped.input))
    assert ("", '["😀"]'.encode()) == (plain.encoding, bytes(plain.input))


async def test_a_value_that_is_too_large_is_refused(server: OneServer) -> None:
    """The waitpoint can still be completed."""
    await server.start()
    token = await token_of(server)
    assert Code.PAYLOAD_TOO_LARGE == await refused(server, token, Raw(b'"' + b"x" * 2**21 + b'"'))
    assert [] == await signals(server)


async def test_it_waits_where_signals_are_held(server: OneServer, worker: Worker) -> None:
    """After two refused closings it waits for the task; when that closed the run, it is too late."""
    await server.start()
    token = await token_of(server)
    for number in range(2):
        task = await worker.workflow_task()
        await server.signal(request_id=f"s{number}")
        await worker.answer(task, c.CompleteWorkflowExecution())
    task = await worker.workflow_task()
    waiting = asyncio.ensure_future(refused(server, token))
    assert await is_waiting(waiting)
    await worker.answer(task, c.CompleteWorkflowExecution())
    assert Code.WORKFLOW_CLOSED == await waiting


async def rotate(server: OneServer, grace: float = 60) -> None:
    await server.api.rotate_waitpoint_secret(RotateWaitpointSecretRequest(grace=timedelta(seconds=grace)))


async def test_a_rotated_secret_is_good_for_a_grace(server: OneServer) -> None:
    """Old tokens are taken until it is over, then refused by name; new ones go on."""
    await server.start()
    old, later = await token_of(server), await token_of(server, number=2)
    await rotate(server, 60)
    new = await token_of(server, number=3)
    server.move(59)
    await server.api.resume_waitpoint(old, YES)
    server.move(1)
    with pytest.raises(ServiceError, match="the secret of this token was changed, and it was good until") as caught:
        await server.api.resume_waitpoint(later, YES)
    assert Code.WAITPOINT_TOKEN_INVALID == caught.value.code
    await server.api.resume_waitpoint(new, YES)
    assert 2 == len(await signals(server))


async def test_a_secret_is_rotated_at_once(cluster: Cluster, server: OneServer) -> None:
    """For one that got out; it stays so after a restart."""
    await server.start()
    token = await token_of(server)
    await rotate(server, 0)
    assert Code.WAITPOINT_TOKEN_INVALID == await refused(server, token)
    server = await cluster.restart(server)
    assert Code.WAITPOINT_TOKEN_INVALID == await refused(server, token)


async def test_a_waitpoint_has_a_token_of_each_secret(server: OneServer) -> None:
    """A worker that replays makes another one; it completes nothing a second time, whichever came first."""
    await server.start()
    tokens = [await token_of(server)]
    for grace in (60, 0):
        await rotate(server, grace)
        tokens.append(await token_of(server))
    assert 3 == len(set(tokens))
    await server.api.resume_waitpoint(tokens[2], YES)
    await rotate(server)
    newest = await token_of(server)
    assert await server.api.resume_waitpoint(newest, YES) == await server.api.resume_waitpoint(tokens[2], YES)
    assert Code.WAITPOINT_USED == await refused(server, newest, NO)
    assert 1 == len(await signals(server))


async def test_a_secret_that_another_server_drew_is_found(server: OneServer) -> None:
    """A worker may hear of it before this server reads again."""
    await server.start()
    before = await token_of(server)
    await server.store.rotate_secret("waitpoints", server.engine.now(), 16)
    newest, first = await server.store.secrets("waitpoints")
    parsed = opened(before, lambda _: key_of(first.secret, NAMESPACE))
    assert parsed is not None
    server.move(1)
    await server.api.resume_waitpoint(sealed(parsed, key_of(newest.secret, NAMESPACE)), YES)
    server.move(9)
    assert Code.WAITPOINT_TOKEN_INVALID == await refused(server, before)


async def test_only_so_many_secrets_are_kept(server: OneServer) -> None:
    """The oldest go; the end of each is the earliest that was said."""
    for _ in range(4):
        await server.store.rotate_secret("waitpoints", server.engine.now(), 3)
    rows = await server.store.secrets("waitpoints")
    assert ([5, 4, 3], [True, False, False]) == (
        [row.generation for row in rows],
        [row.valid_until is None for row in rows],
    )


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), timedelta(days=4000)])
async def test_a_grace_has_bounds(server: OneServer, grace: timedelta) -> None:
    """It is neither in the past nor without end."""
    with pytest.raises(ServiceError, match="grace is from 0 to 3650 days") as caught:
        await server.api.rotate_waitpoint_secret(RotateWaitpointSecretRequest(grace=grace))
    assert Code.INVALID_ARGUMENT == caught.value.code
