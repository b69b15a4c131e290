"""The order in which coroutines run is what the goldens say, live and on every kind of replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure_worker import Interceptor, WorkflowInboundInterceptor, WorkflowInterceptorClassInput
from perdure_worker.replayer import Replayer
from tests.replay.interleaving.programs import STORIES
from tests.replay.interleaving.story import Story, trace

FOLDER = Path(__file__).parent / "golden"


class Looking(Interceptor):
    """It passes everything on."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput, /
    ) -> type[WorkflowInboundInterceptor] | None:
        return WorkflowInboundInterceptor


def told(name: str, *, evicts: bool = False) -> Story:
    """The story, told to its end."""
    program, tell = STORIES[name]
    story = Story(program, evicts=evicts)
    tell(story)
    assert story.outcome is not None
    assert story.outcome.closed, "a story goes on to the end of its workflow"
    return story


@pytest.mark.parametrize("name", STORIES)
def test_live(name: str) -> None:
    """With the run cached; `python -m tests.replay.interleaving.regenerate` writes it anew."""
    assert (FOLDER / f"{name}.txt").read_text(encoding="utf-8") == told(name).text()


@pytest.mark.parametrize("name", STORIES)
def test_replayed_at_every_turn(name: str) -> None:
    """With the run forgotten after each turn, as under a cache of no entries."""
    assert (FOLDER / f"{name}.txt").read_text(encoding="utf-8") == told(name, evicts=True).text()


@pytest.mark.parametrize("interceptors", [[], [Looking()]], ids=["bare", "intercepted"])
@pytest.mark.parametrize("name", STORIES)
def test_replayed_at_once(name: str, interceptors: list[Interceptor]) -> None:
    """With the whole history read in one go; interceptors that only look add no step."""
    story = told(name)
    live = list(trace)
    trace.clear()
    Replayer(workflows=[story.workflow], interceptors=interceptors).replay(story.events)
    assert live == trace


def test_no_golden_without_a_story() -> None:
    """A golden whose story is gone goes too."""
    assert set(STORIES) == {path.stem for path in FOLDER.glob("*.txt")}
