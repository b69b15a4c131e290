"""`perdure activity start | execute | …`: what is sent for standalone activities, and what is printed."""

from datetime import UTC, datetime

from msgspec import Raw

from perdure.cli.exits import Exit
from perdure_proto import service as svc
from perdure_proto.failures import ApplicationFailure, Failure
from tests.unit.cli.conftest import Perdure
from tests.unit.cli.fake_service import FakeService

ROOT = "/api/v1/namespaces/default/activities"
CHARGE = f"{ROOT}/charge-1"
INFO = svc.ActivityExecutionInfo(
    activity_id="charge-1",
    run_id="r",
    activity_type="charge",
    task_queue="default",
    status="RUNNING",
    start_time=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_an_activity_is_started(perdure: Perdure, service: FakeService) -> None:
    """Timeouts, retries and arguments go with the request; the ids are printed."""
    service.answer("POST", CHARGE, svc.StartActivityAnswer(activity_id="charge-1", run_id="r"))
    words = ("--id", "charge-1", "--input", "10", "--start-to-close-timeout", "30s", "--retry-maximum-attempts", "3")
    outcome = perdure("activity", "start", "charge", *words)
    assert (Exit.DONE, "started: activity id charge-1, run id r\n", "") == outcome
    sent = service.last(CHARGE).body
    assert ("charge", [10], 3) == (sent["activity_type"], sent["input"], sent["retry_policy"]["maximum_attempts"])


def test_a_result_is_waited_for(perdure: Perdure, service: FakeService) -> None:
    """A wait that was over first is repeated."""
    service.answer("POST", CHARGE, svc.StartActivityAnswer(activity_id="charge-1", run_id="r"))
    running = svc.ActivityResultAnswer(run_id="r", status="RUNNING")
    done = svc.ActivityResultAnswer(run_id="r", status="COMPLETED", result=Raw(b'"paid"'))
    service.answer("GET", f"{CHARGE}/result", running, done)
    assert (Exit.DONE, '"paid"\n', "") == perdure("activity", "execute", "charge", "--id", "charge-1")


def test_a_failed_activity_is_an_error(perdure: Perdure, service: FakeService) -> None:
    """The status is not 0, and the line says what it raised."""
    failure = Failure(message="no money", info=ApplicationFailure(type="Declined"))
    answer = svc.ActivityResultAnswer(run_id="r", status="FAILED", failure=failure)
    service.answer("GET", f"{CHARGE}/result", answer)
    outcome = perdure("activity", "result", "charge-1")
    assert Exit.NOT_DONE == outcome.status
    assert "ACTIVITY_FAILED" in outcome.err
    assert "no money" in outcome.err


def test_activities_are_listed_counted_and_described(perdure: Perdure, service: FakeService) -> None:
    """A list goes on over its pages; a description has the attempt that is pending."""
    first = svc.ListActivitiesAnswer(executions=(INFO,), next_cursor="c")
    service.answer("GET", ROOT, first, svc.ListActivitiesAnswer(executions=(INFO,)))
    assert 2 == perdure("activity", "list").out.count("charge-1")
    service.answer("GET", "/api/v1/namespaces/default/activity-count", svc.CountActivitiesAnswer(count=2))
    assert "2\n" == perdure("activity", "count").out
    pending = svc.PendingActivity(activity_id="charge-1", activity_type="charge", state="STARTED", attempt=2)
    service.answer("GET", CHARGE, svc.DescribeActivityAnswer(execution=INFO, pending=pending))
    assert "STARTED" in perdure("activity", "describe", "charge-1").out


def test_an_activity_is_stopped(perdure: Perdure, service: FakeService) -> None:
    """Both ways carry the reason."""
    for verb in ("cancel", "terminate"):
        service.answer("POST", f"{CHARGE}/{verb}", svc.Acknowledged(run_id="r"))
        assert Exit.DONE == perdure("activity", verb, "charge-1", "--reason", "enough").status
        assert "enough" == service.last(f"{CHARGE}/{verb}").body["reason"]
