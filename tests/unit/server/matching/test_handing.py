"""Tasks that are handed to a session outside of its polls: delivered like any other, or not at all."""

from __future__ import annotations

import asyncio

import pytest

from perdure_server.matching import TaskRef
from tests.unit.server.matching.doubles import bench, settle, workflow_ref

SET_ASIDE = 99


async def test_a_handed_task_counts_once_it_is_acknowledged() -> None:
    """The next request of the session acknowledges its number, as that of an answer."""
    async with bench() as b:
        await b.poll("s")
        task = await b.matching.hand("s", SET_ASIDE, workflow_ref("r"))
        assert task is not None
        assert (task, []) == (b.matching.handed("s", SET_ASIDE), b.told("received"))
        await b.poll("s", acknowledged=(SET_ASIDE,))
        assert ([("s", ["r"])], None) == (b.told("received"), b.matching.handed("s", SET_ASIDE))


async def test_a_handed_task_of_a_silent_session_is_handed_out_again() -> None:
    """Nobody has acknowledged it, and nobody will."""
    async with bench() as b:
        await b.poll("s")
        assert await b.matching.hand("s", SET_ASIDE, workflow_ref("r"))
        b.pass_time(2.0)
        assert [("s", ["r"])] == b.told("undelivered")


@pytest.mark.parametrize(
    ("session", "ref"),
    [
        ("nobody", workflow_ref("r")),
        ("s", workflow_ref("r", task_queue="other")),
        ("s", workflow_ref("r", type_name="Unknown")),
    ],
)
async def test_only_a_session_that_could_poll_for_it_is_handed_a_task(session: str, ref: TaskRef) -> None:
    """It must be there, of that queue, and know the type; the task is still due."""
    async with bench() as b:
        await b.poll("s")
        assert await b.matching.hand(session, SET_ASIDE, ref) is None
        assert [] == b.source.taken


async def test_a_silent_session_is_handed_nothing() -> None:
    """Its worker may be gone."""
    async with bench() as b:
        await b.poll("s")
        b.pass_time(2.0)
        assert await b.matching.hand("s", SET_ASIDE, workflow_ref("r")) is None


async def test_a_session_that_falls_silent_meanwhile_loses_the_task() -> None:
    """While the task is built the worker goes away: it is given back."""
    async with bench() as b:
        await b.poll("s")
        b.source.hold["r"] = asyncio.Event()
        handing = asyncio.create_task(b.matching.hand("s", SET_ASIDE, workflow_ref("r")))
        await settle()
        b.pass_time(2.0)
        b.source.hold["r"].set()
        assert await handing is None
        assert [("s", ["r"])] == b.told("undelivered")
