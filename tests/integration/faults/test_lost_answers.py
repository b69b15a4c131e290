"""Answers that are lost on the way: to polls, to responds, to clients, and from Postgres to the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from perdure import Client
from perdure_worker import Worker
from tests.integration.audit import audit
from tests.integration.faults.channel_proxy import channel_proxy_to
from tests.integration.faults.load import Load
from tests.integration.faults.proxy import Loses, Lossy, proxy_to
from tests.integration.model.stack import served
from tests.integration.store.answer_loss import AnswerLoss
from tests.postgres import scratch_folder
from tests.programs.mixed import Progress, add, double, finish, mixed, treble

pytestmark = pytest.mark.timeout(60)

NO_TIMEOUT = timedelta(seconds=4)
"""Less than the shortest timeout that could mend a loss: a workflow task has 10 s, an activity here 5 s."""

Through = Callable[[int, Loses], AbstractAsyncContextManager[Lossy]]

both_ways = pytest.mark.parametrize("through", [proxy_to, channel_proxy_to], ids=["over HTTP", "over a channel"])


def every(nth: int, ending: str, words: bytes = b"") -> Loses:
    """Loses each nth answer to paths with this ending, of those that hold these words."""
    seen = 0

    def loses(path: str, data: bytes) -> bool:
        nonlocal seen
        if not path.partition("?")[0].endswith(ending) or words not in data:
            return False
        seen += 1
        return seen % nth == 0

    return loses


def port_of(address: str) -> int:
    port = urlsplit(address).port
    assert port is not None
    return port


@both_ways
@pytest.mark.parametrize(
    "loses",
    [lambda: every(3, "/poll", b'"tasks"'), lambda: every(3, "/respond"), lambda: every(2, "/respond", b'"tasks"')],
    ids=["poll", "respond", "respond with tasks"],
)
async def test_a_worker_makes_good_for_lost_answers(
    database_url: str, loses: Callable[[], Loses], through: Through
) -> None:
    """What was delivered is delivered again and what was done counts once, before any timeout has to mend it."""
    async with served(database_url) as address, through(port_of(address), loses()) as proxy:
        async with (
            await Client.connect(proxy.address) as cut,
            Worker(cut, workflows=[mixed], activities=[double, treble]),
            await Client.connect(address) as client,
        ):
            handle = await client.start_workflow(mixed, 3, Progress())
            for number in range(4):
                async with asyncio.timeout(NO_TIMEOUT.total_seconds()):
                    assert 2 * number == await handle.execute_update(add, number)
            await handle.signal(finish)
            async with asyncio.timeout(NO_TIMEOUT.total_seconds()):
                assert [0, 1, 2, 3] == (await handle.result()).updates
        assert proxy.lost
    await audit(database_url, [mixed])


@both_ways
@pytest.mark.parametrize("ending", ["", "/signal/numbers", "/update/add", "/result"])
async def test_a_client_repeats_what_was_not_answered(database_url: str, ending: str, through: Through) -> None:
    """Starts, signals, updates and waits whose answers are lost are done once."""
    async with (
        served(database_url) as address,
        through(port_of(address), every(2, ending)) as proxy,
        await Client.connect(address) as client,
        Worker(client, workflows=[mixed], activities=[double, treble]),
        await Client.connect(proxy.address) as cut,
    ):
        load = Load(cut, callers=3)
        async with load:
            await load.acknowledged.more(20)
            await load.finish()
        assert proxy.lost
    await audit(database_url, [mixed])


async def test_a_commit_whose_answer_is_lost_happened_once(database_url: str) -> None:
    """The server finds out what became of it, and answers; nothing is lost or doubled."""
    with scratch_folder() as folder:
        losing = AnswerLoss(database_url, folder)
        async with (
            losing.running(),
            served(losing.dsn) as address,
            await Client.connect(address) as client,
            Worker(client, workflows=[mixed], activities=[double, treble]),
        ):
            load = Load(client, callers=4)
            async with load:
                for _ in range(8):
                    await load.acknowledged.more(5)
                    losing.lose_next_answer()
                await load.finish()
    await audit(database_url, [mixed])
