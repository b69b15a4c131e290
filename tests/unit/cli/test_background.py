"""A background task that fails ends the main one with it."""

import asyncio

import pytest

from perdure.cli.supervision.background import background


async def fail() -> None:
    raise ZeroDivisionError


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_an_error_ends_the_main_task() -> None:
    """The error of the background task is the error of the block."""

    async def main() -> None:
        with background() as tasks:
            task = tasks.start(fail())
            await for_ever()
            task.result()

    with pytest.raises(ZeroDivisionError):
        await asyncio.create_task(main())


async def test_a_cancelled_task_disturbs_nobody() -> None:
    """A task that was told to stop is no error."""
    with background() as tasks:
        task = tasks.start(for_ever())
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)


async def test_cancelling_the_main_task_stays_a_cancellation() -> None:
    """Without an error the block is cancelled like any other."""

    async def main() -> None:
        with background():
            await for_ever()

    task = asyncio.create_task(main())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
