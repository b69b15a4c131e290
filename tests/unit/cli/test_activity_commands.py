"""`perdure activity`: what is sent, and what is refused before anything is sent."""

import pytest

from perdure.cli.exits import Exit
from perdure_proto.async_activities import HeartbeatActivityAnswer
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import Acknowledged
from tests.unit.cli.conftest import Perdure
from tests.unit.cli.fake_service import FakeService

ROOT = "/api/v1/namespaces/default/activity-tasks"
IDS = ("--workflow-id", "order-1", "--activity-id", "1")


def test_an_activity_is_completed_by_its_ids(perdure: Perdure, service: FakeService) -> None:
    """The result goes as the JSON it is."""
    service.answer("POST", f"{ROOT}/complete", Acknowledged(run_id="r"))
    outcome = perdure("activity", "complete", *IDS, "--run-id", "r", "--result", '{"ok":true}', "--identity", "clerk")
    assert (Exit.DONE, "completed\n", "") == outcome
    sent = {"workflow_id": "order-1", "run_id": "r", "activity_id": "1", "identity": "clerk", "result": {"ok": True}}
    assert sent == service.last(f"{ROOT}/complete").body


def test_an_activity_is_failed(perdure: Perdure, service: FakeService) -> None:
    """Reason, type and details become an application failure."""
    service.answer("POST", f"{ROOT}/fail", Acknowledged(run_id="r"))
    options = ("--reason", "no answer", "--type", "Silence", "--detail", "7", "--non-retryable")
    assert Exit.DONE == perdure("activity", "fail", "--task-token", "a.1", *options).status
    body = service.last(f"{ROOT}/fail").body
    info = {"type": "Silence", "non_retryable": True, "details": [7]}
    assert ("a.1", "no answer") == (body["task_token"], body["failure"]["message"])
    assert info == {name: body["failure"]["info"][name] for name in info}


def test_a_standalone_activity_is_named_by_its_id(perdure: Perdure, service: FakeService) -> None:
    """It has no workflow."""
    service.answer("POST", f"{ROOT}/complete", Acknowledged(run_id="r"))
    assert Exit.DONE == perdure("activity", "complete", "--activity-id", "greet-1").status
    body = service.last(f"{ROOT}/complete").body
    assert ("", "greet-1") == (body.get("workflow_id", ""), body["activity_id"])


@pytest.mark.parametrize(("asked", "expected"), [(False, "goes on\n"), (True, "cancellation requested\n")])
def test_a_heartbeat_says_whether_to_stop(perdure: Perdure, service: FakeService, asked: bool, expected: str) -> None:
    """What the service answered is printed."""
    service.answer("POST", f"{ROOT}/heartbeat", HeartbeatActivityAnswer(cancel_requested=asked))
    assert expected == perdure("activity", "heartbeat", *IDS, "--detail", "[1]").out
    assert [[1]] == service.last(f"{ROOT}/heartbeat").body["details"]


def test_a_cancellation_is_reported(perdure: Perdure, service: FakeService) -> None:
    """A refusal keeps its code."""
    refused = ServiceError(Code.INVALID_ARGUMENT, "the activity was not asked to stop")
    service.answer("POST", f"{ROOT}/cancel", Acknowledged(run_id="r"), refused)
    assert Exit.DONE == perdure("activity", "report-cancellation", *IDS).status
    outcome = perdure("activity", "report-cancellation", *IDS)
    assert (Exit.REFUSED, True) == (outcome.status, "INVALID_ARGUMENT" in outcome.err)


@pytest.mark.parametrize(
    "words",
    [(), ("--workflow-id", "w"), ("--run-id", "r"), ("--task-token", "t", "--activity-id", "1")],
)
def test_an_activity_is_named_in_one_way(perdure: Perdure, service: FakeService, words: tuple[str, ...]) -> None:
    """Neither, half of it and both are refused, and nothing is sent."""
    outcome = perdure("activity", "complete", *words)
    assert Exit.USAGE == outcome.status
    assert "--task-token" in outcome.err
    assert [] == [asked for asked in service.asked if asked.path.startswith(ROOT)]
