"""The live picture says what a run is doing."""

import io

from rich.console import Console

from perdure.cli.progress import Progress
from perdure.cli.service import CommandService
from perdure.exceptions import RPCError
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_proto.service import HistoryAnswer, PendingActivity
from tests.unit.cli.histories import order_history


class SilentService(CommandService):
    """A service that cannot be reached."""

    def __init__(self) -> None:
        pass

    async def history(self, workflow_id: str, run_id: str, after: int, *, wait: float = 0.0) -> HistoryAnswer:
        raise RPCError("cannot reach it")


def progress() -> Progress:
    return Progress(SilentService(), "order-1", "run-1")


def drawn(progress: Progress) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    console.print(progress.picture())
    output = console.file
    assert isinstance(output, io.StringIO)
    return [" ".join(line.split()) for line in output.getvalue().splitlines()]


def test_what_ended_has_a_mark_and_its_time() -> None:
    """Activities, timers and signals each have a line with how they ended."""
    picture = progress()
    for event in order_history():
        picture.take(event)
    told = drawn(picture)
    assert [
        '✓ greet("Ada") 20ms',
        "✗ charge() 10ms ActivityError: activity charge failed ← CardError: card declined",
        "✓ timer 2s 2s",
        "✓ signal approve(true) 0s",
    ] == told[:4]
    assert told[4].endswith("order-1 10 events")


def test_what_is_retried_says_so() -> None:
    """A pending activity shows its attempt and why the last one failed."""
    picture = progress()
    for event in order_history()[:5]:
        picture.take(event)
    failure = Failure(message="no route", info=ApplicationFailure(type="OSError"))
    picture.note_pending(
        PendingActivity(
            activity_id="2",
            activity_type="charge",
            state="BACKING_OFF",
            attempt=3,
            scheduled_event_id=5,
            last_failure=failure,
        )
    )
    assert drawn(picture)[1].endswith("attempt 3 · OSError: no route")


async def test_a_silent_service_does_not_disturb() -> None:
    """The picture stands when the service does not answer."""
    picture = progress()
    await picture._follow()
    assert "order-1 0 events" in drawn(picture)[0]
