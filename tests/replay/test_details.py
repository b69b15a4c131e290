"""What a workflow says of itself: it leaves with the task that changed it, and only then."""

import pytest

from perdure import workflow
from tests.replay.service import Service

go = workflow.Signal[str]("go")


@workflow.defn
async def talks() -> str:
    workflow.set_current_details("begun")

    @workflow.query
    def says() -> str:
        return workflow.get_current_details()

    @workflow.query
    def changes() -> None:
        workflow.set_current_details("by a query")

    async for said in go.channel():
        if said == "end":
            return workflow.get_current_details()
        if said:
            workflow.set_current_details("for a moment")
            workflow.set_current_details(said)
    return ""


def told(service: Service) -> str | None:
    """What the last task brings."""
    service.turn()
    assert service.outcome is not None
    return service.outcome.current_details


def test_a_change_leaves_with_its_task() -> None:
    """The last word of a task counts; a task that changed nothing says nothing."""
    service = Service(talks)
    assert "begun" == told(service)
    service.signal("go", "")
    assert told(service) is None
    service.signal("go", "more")
    assert "more" == told(service)
    service.signal("go", "more")
    assert told(service) is None
    service.signal("go", "end")
    service.turn()
    assert "more" == service.result()
    service.check()


def test_a_replay_says_nothing_again() -> None:
    """What was said before is known; what is new leaves."""
    service = Service(talks)
    service.turn()
    service.evict()
    service.signal("go", "")
    assert told(service) is None
    service.evict()
    service.signal("go", "more")
    assert "more" == told(service)


def test_a_query_reads_and_does_not_write() -> None:
    """It sees what was said last."""
    service = Service(talks)
    service.turn()
    assert "begun" == service.query("says") == service.query_anew("says")
    with pytest.raises(AssertionError, match="set_current_details"):
        service.query("changes")
