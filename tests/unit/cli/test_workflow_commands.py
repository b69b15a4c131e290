"""`perdure workflow …` asks the service for what was typed and prints what it answers."""

import json
from datetime import timedelta

import msgspec
import pytest
from msgspec import Raw

from perdure.cli.exits import Exit
from perdure_proto.codec import encode_events, encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import AnyEvent, TimerStarted, WorkflowTaskCompleted
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_proto.service import (
    Acknowledged,
    CountWorkflowsAnswer,
    DescribeWorkflowAnswer,
    HistoryAnswer,
    ListWorkflowsAnswer,
    PendingActivity,
    PendingWorkflowTask,
    QueryWorkflowAnswer,
    ReopenWorkflowAnswer,
    ResetWorkflowAnswer,
    StartWorkflowAnswer,
    UpdateWithStartAnswer,
    UpdateWorkflowAnswer,
    WorkflowExecutionInfo,
    WorkflowResultAnswer,
)
from perdure_proto.waitpoints import PendingWaitpoint
from tests.unit.cli.conftest import Perdure
from tests.unit.cli.fake_service import FakeService
from tests.unit.cli.histories import BEGAN_AT, DECLINED, order_history

HERE = "/api/v1/namespaces/default"
ORDER = f"{HERE}/workflows/order-1"
STARTED = StartWorkflowAnswer(workflow_id="order-1", run_id="run-1")
INFO = WorkflowExecutionInfo(
    workflow_id="order-1",
    run_id="run-1",
    workflow_type="order",
    task_queue="default",
    status="RUNNING",
    start_time=BEGAN_AT,
    history_length=9,
)


def completed(result: bytes, run_id: str = "run-1") -> WorkflowResultAnswer:
    return WorkflowResultAnswer(run_id=run_id, status="COMPLETED", result=Raw(result))


def test_start_says_what_was_typed(perdure: Perdure, service: FakeService) -> None:
    """Each option becomes a field of the request."""
    service.answer("POST", ORDER, STARTED)
    outcome = perdure(
        *(
            "workflow",
            "start",
            "order",
            "--id",
            "order-1",
            "--input",
            '"Ada"',
            "--input",
            "2",
            "--kwargs",
            '{"gift":true}',
        ),
        *("--task-queue", "orders", "--execution-timeout", "1h30m", "--run-timeout", "5m", "--task-timeout", "20s"),
        *("--id-conflict-policy", "use_existing", "--id-reuse-policy", "reject_duplicate", "--request-id", "r-1"),
        *("--memo", '{"by":"me"}', "--identity", "me", "--summary", "An order", "--static-details", "# For Ada"),
    )
    assert (Exit.DONE, "started: workflow id order-1, run id run-1\n") == (outcome.status, outcome.out)
    assert {
        "workflow_type": "order",
        "task_queue": "orders",
        "input": ["Ada", 2],
        "kwargs": {"gift": True},
        "workflow_execution_timeout": "PT5400S",
        "workflow_run_timeout": "PT300S",
        "workflow_task_timeout": "PT20S",
        "id_conflict_policy": "use_existing",
        "id_reuse_policy": "reject_duplicate",
        "request_id": "r-1",
        "identity": "me",
        "memo": {"by": "me"},
        "static_summary": "An order",
        "static_details": "# For Ada",
    } == service.last(ORDER).body


def test_a_signal_goes_with_a_start(perdure: Perdure, service: FakeService) -> None:
    """The signal is one field of the start, and the answer says whether a run was there already."""
    service.answer("POST", ORDER, STARTED, msgspec.structs.replace(STARTED, started=False))
    typed = ("workflow", "signal-with-start", "order", "--id", "order-1", "--input", '"Ada"')
    signal = ("--signal-name", "approve", "--signal-input", '{"ok":true}', "--signal-input", "2")
    outcome = perdure(*typed, *signal)
    assert (Exit.DONE, "started and signalled: workflow id order-1, run id run-1\n") == (outcome.status, outcome.out)
    assert {"name": "approve", "input": [{"ok": True}, 2]} == service.last(ORDER).body["start_signal"]
    assert perdure(*typed, *signal, "--signal-kwargs", '{"by":"me"}').out.startswith("signalled: ")
    assert {"by": "me"} == service.last(ORDER).body["start_signal"]["kwargs"]
    assert Exit.USAGE == perdure("workflow", "signal-with-start", "order", *signal).status


def test_a_start_without_an_id_gets_one(perdure: Perdure, service: FakeService) -> None:
    """The workflow id and the request id default to fresh ones."""
    perdure("workflow", "start", "order")
    asked = next(asked for asked in service.asked if asked.method == "POST")
    assert 36 == len(asked.path.rpartition("/")[2]) == len(asked.body["request_id"])


def test_an_existing_execution_is_said(perdure: Perdure, service: FakeService) -> None:
    """A start that found an execution running says so."""
    service.answer("POST", ORDER, msgspec.structs.replace(STARTED, started=False))
    assert perdure("workflow", "start", "order", "--id", "order-1").out.startswith("already started: ")


def test_ids_travel_whole(perdure: Perdure, service: FakeService) -> None:
    """A workflow id may hold anything, slashes and percent signs too."""
    path = f"{HERE}/workflows/a%2Fb%25c%20%C3%A9/cancel"
    service.answer("POST", path, Acknowledged(run_id="run-1"))
    assert Exit.DONE == perdure("workflow", "cancel", "a/b%c é", "--reason", "why").status
    assert "why" == service.last(path).body["reason"]


def test_execute_prints_the_result(perdure: Perdure, service: FakeService) -> None:
    """The result alone is on standard output, as JSON."""
    service.answer("POST", ORDER, STARTED)
    service.answer("GET", f"{ORDER}/result", completed(b'"Hello, Ada!"'))
    outcome = perdure("workflow", "execute", "order", "--id", "order-1")
    assert (Exit.DONE, '"Hello, Ada!"\n', "") == outcome


def test_a_result_is_waited_for_through_the_chain(perdure: Perdure, service: FakeService) -> None:
    """A wait that was over is repeated, and a run that continued is followed."""
    running = WorkflowResultAnswer(run_id="run-1", status="RUNNING")
    continued = WorkflowResultAnswer(run_id="run-1", status="CONTINUED_AS_NEW", new_run_id="run-2")
    service.answer("GET", f"{ORDER}/result", running, continued, completed(b"7", "run-2"))
    assert (Exit.DONE, "7\n", "") == perdure("workflow", "result", "order-1")
    assert "run-2" == service.last(f"{ORDER}/result").params["run_id"]


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "CANCELED", "TERMINATED"])
def test_a_workflow_that_did_not_complete_is_an_error(perdure: Perdure, service: FakeService, status: str) -> None:
    """It ends with status 1 and one line that says how it ended and where to look."""
    failure = Failure(message="boom", info=ApplicationFailure(type="ValueError"))
    answer = {"run_id": "run-1", "status": status, "failure": failure if status == "FAILED" else None}
    service.answer("GET", f"{ORDER}/result", answer)
    outcome = perdure("workflow", "result", "order-1")
    why = "ValueError: boom" if status == "FAILED" else status.lower().replace("_", " ")
    line = f"error: WORKFLOW_{status}: order-1: {why}; see 'perdure workflow show order-1'\n"
    assert (Exit.NOT_DONE, "", line) == outcome


def test_a_failure_is_json_for_a_program(perdure: Perdure, service: FakeService) -> None:
    """With JSON output the failure is on standard output too."""
    service.answer("GET", f"{ORDER}/result", WorkflowResultAnswer(run_id="run-1", status="FAILED", failure=DECLINED))
    outcome = perdure("workflow", "result", "order-1", "--output", "json")
    assert (Exit.NOT_DONE, "card declined") == (outcome.status, json.loads(outcome.out)["failure"]["cause"]["message"])


def test_a_refusal_has_its_code(perdure: Perdure, service: FakeService) -> None:
    """What the service refuses ends with status 4 and the code."""
    service.answer("GET", ORDER, ServiceError(Code.WORKFLOW_NOT_FOUND, "no workflow 'order-1'"))
    line = "error: WORKFLOW_NOT_FOUND: no workflow 'order-1'\n"
    assert (Exit.REFUSED, "", line) == perdure("workflow", "describe", "order-1")


def test_list_is_a_table(perdure: Perdure, service: FakeService) -> None:
    """A list names each execution whole; the filter is the service's business."""
    long = msgspec.structs.replace(INFO, workflow_id="x" * 200)
    service.answer("GET", f"{HERE}/workflows", ListWorkflowsAnswer(executions=(INFO, long)))
    outcome = perdure("workflow", "list", "--query", "WorkflowType = 'order'", "--limit", "5")
    head, first, second = outcome.out.splitlines()
    assert ["STATUS", "WORKFLOW", "ID", "TYPE"] == head.split()[:4]
    assert ["RUNNING", "order-1", "order", "default"] == first.split()[:4]
    assert "x" * 200 in second
    asked = service.last(f"{HERE}/workflows")
    assert {"query": "WorkflowType = 'order'", "limit": "5"} == asked.params


def test_list_follows_pages(perdure: Perdure, service: FakeService) -> None:
    """Pages are asked for until there are enough, and JSON lines are one execution each."""
    page = ListWorkflowsAnswer(executions=(INFO, INFO), next_cursor="c")
    service.answer("GET", f"{HERE}/workflows", page, ListWorkflowsAnswer(executions=(INFO,)))
    outcome = perdure("workflow", "list", "--output", "jsonl")
    assert ["order-1"] * 3 == [json.loads(line)["workflow_id"] for line in outcome.out.splitlines()]
    assert "c" == service.last(f"{HERE}/workflows").params["cursor"]


def test_count_is_a_number(perdure: Perdure, service: FakeService) -> None:
    """A count is the number alone."""
    service.answer("GET", f"{HERE}/workflow-count", CountWorkflowsAnswer(count=42))
    assert (Exit.DONE, "42\n", "") == perdure("workflow", "count")


def test_describe_says_what_is_pending(perdure: Perdure, service: FakeService) -> None:
    """Pending activities with attempt and failure, the pending task with its note."""
    activity = PendingActivity(
        activity_id="1",
        activity_type="charge",
        state="BACKING_OFF",
        attempt=3,
        maximum_attempts=5,
        last_failure=DECLINED,
        transactional=True,
    )
    task = PendingWorkflowTask(state="SCHEDULED", note="no worker knows the type 'order'")
    service.answer(
        "GET", ORDER, DescribeWorkflowAnswer(execution=INFO, pending_workflow_task=task, pending_activities=(activity,))
    )
    told = [" ".join(line.split()) for line in perdure("workflow", "describe", "order-1").out.splitlines()]
    expected = {
        "status RUNNING",
        "pending workflow task",
        "note no worker knows the type 'order'",
        "pending activity charge",
        "attempt 3 of 5",
        "completed by the commit of its transaction",
        "last failure ActivityError: activity charge failed ← CardError: card declined",
    }
    assert set() == expected - set(told)


WAITPOINT = PendingWaitpoint(name="approval", number=1, token="t", url="http://here/t")
TOLD = QueryWorkflowAnswer(result=Raw(encoder.encode([WAITPOINT])))
WAITPOINTS = f"{ORDER}/query/__waitpoints"


def test_describe_asks_for_waitpoints(perdure: Perdure, service: FakeService) -> None:
    """Where a worker has the workflow in memory; one that does not answer leaves the rest as it is."""
    cached = DescribeWorkflowAnswer(execution=INFO, sticky_worker="7@host")
    service.answer("GET", ORDER, cached, cached, DescribeWorkflowAnswer(execution=INFO))
    service.answer("POST", WAITPOINTS, TOLD, ServiceError(Code.QUERY_TIMED_OUT, "nobody answers"))
    told = [" ".join(line.split()) for line in perdure("workflow", "describe", "order-1").out.splitlines()]
    assert {"pending waitpoint approval", "its url see perdure workflow waitpoints order-1"} <= set(told)
    assert "http://here/t" not in told, "a token is a secret"
    for _ in range(2):
        outcome = perdure("workflow", "describe", "order-1")
        assert (Exit.DONE, False) == (outcome.status, "waitpoint" in outcome.out)
    assert 2 == len([asked for asked in service.asked if asked.path == WAITPOINTS])


def test_waitpoints_are_listed(perdure: Perdure, service: FakeService) -> None:
    """A payload codec keeps them from being read, which is said."""
    service.answer("POST", WAITPOINTS, TOLD, TOLD, QueryWorkflowAnswer(result=Raw(b'"x"'), encoding="secret"))
    assert "http://here/t" in perdure("workflow", "waitpoints", "order-1").out
    assert '"token":"t"' in perdure("workflow", "waitpoints", "order-1", "--output", "jsonl").out
    outcome = perdure("workflow", "waitpoints", "order-1")
    assert (Exit.NOT_DONE, True) == (outcome.status, "has the codec" in outcome.err)


def test_describe_shows_what_an_execution_says(perdure: Perdure, service: FakeService) -> None:
    """Its summary, its details, and its current ones."""
    answer = DescribeWorkflowAnswer(
        execution=INFO, static_summary="An order", static_details="# For Ada", current_details="packs **book**"
    )
    service.answer("GET", ORDER, answer)
    told = [" ".join(line.split()) for line in perdure("workflow", "describe", "order-1").out.splitlines()]
    assert set() == {"summary An order", "details # For Ada", "current details packs **book**"} - set(told)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("no longer needed", "cancel requested yes: no longer needed"), ("", "cancel requested yes")],
)
def test_describe_says_why_an_execution_is_to_stop(
    perdure: Perdure, service: FakeService, reason: str, expected: str
) -> None:
    """The reason of the cancel request, where it gave one."""
    answer = DescribeWorkflowAnswer(execution=INFO, cancel_requested=True, cancel_reason=reason)
    service.answer("GET", ORDER, answer)
    told = [" ".join(line.split()) for line in perdure("workflow", "describe", "order-1").out.splitlines()]
    assert expected in told


def test_show_has_the_summaries(perdure: Perdure, service: FakeService) -> None:
    """Beside the activity, the timer and the task; Markdown is cut to a part of a line."""
    events: list[AnyEvent] = [
        WorkflowTaskCompleted(
            event_id=1,
            event_time=BEGAN_AT,
            scheduled_event_id=2,
            started_event_id=3,
            current_details="# Title\n" + "long " * 50,
        ),
        TimerStarted(
            event_id=2,
            event_time=BEGAN_AT,
            timer_id="1",
            start_to_fire_timeout=timedelta(seconds=5),
            summary="cools down",
            workflow_task_completed_event_id=1,
        ),
    ]
    service.answer("GET", f"{ORDER}/history", HistoryAnswer(run_id="run-1", events=Raw(encode_events(events))))
    out = " ".join(perdure("workflow", "show", "order-1").out.split())
    assert "summary=cools down" in out
    assert "current_details=# Title long" in out
    assert "…" in out


def history(*, next_event_id: int = 0, part: slice = slice(None)) -> HistoryAnswer:
    return HistoryAnswer(run_id="run-1", events=Raw(encode_events(order_history()[part])), next_event_id=next_event_id)


def test_show_prints_every_event(perdure: Perdure, service: FakeService) -> None:
    """The timeline goes over all pages of the history."""
    first, second = history(next_event_id=5, part=slice(0, 4)), history(part=slice(4, None))
    service.answer("GET", f"{ORDER}/history", first, second)
    outcome = perdure("workflow", "show", "order-1")
    numbers = [line.split()[0] for line in outcome.out.splitlines() if " +" in line[:20]]
    assert [str(number) for number in range(1, 11)] == numbers
    assert {"run_id": "run-1", "after": "4"}.items() <= service.last(f"{ORDER}/history").params.items()


def test_show_ends_where_an_open_history_ends(perdure: Perdure, service: FakeService) -> None:
    """Without --follow the events so far are all."""
    so_far, nothing = history(next_event_id=5, part=slice(0, 4)), history(next_event_id=5, part=slice(0, 0))
    service.answer("GET", f"{ORDER}/history", so_far, nothing)
    assert 4 == len(json.loads(perdure("workflow", "show", "order-1", "--output", "json").out))


def test_follow_goes_on_until_the_run_closes(perdure: Perdure, service: FakeService) -> None:
    """With --follow an empty answer is no end."""
    so_far, nothing = history(next_event_id=5, part=slice(0, 4)), history(next_event_id=5, part=slice(0, 0))
    service.answer("GET", f"{ORDER}/history", so_far, nothing, nothing, history(part=slice(4, None)))
    lines = perdure("workflow", "show", "order-1", "--follow", "--output", "jsonl").out.splitlines()
    assert [json.loads(line)["event_id"] for line in lines] == list(range(1, 11))


def test_signal_carries_its_arguments(perdure: Perdure, service: FakeService) -> None:
    """A signal has a name, arguments and a request id."""
    path = f"{ORDER}/signal/approve"
    service.answer("POST", path, Acknowledged(run_id="run-1"))
    words = ("workflow", "signal", "order-1", "approve", "--input", '{"ok":true}', "--request-id", "s-1")
    assert (Exit.DONE, "signalled order-1\n", "") == perdure(*words)
    body = service.last(path).body
    assert ([{"ok": True}], "s-1") == (body["input"], body["request_id"])


def test_resume_sends_the_value_alone(perdure: Perdure, service: FakeService) -> None:
    """The token is the path, the value the body; null by default."""
    service.answer("POST", "/api/v1/resume/to-ken", Acknowledged(run_id="run-1"))
    assert (Exit.DONE, "resumed\n", "") == perdure("workflow", "resume", "to-ken", "--input", '{"ok": true}')
    assert {"ok": True} == service.last("/api/v1/resume/to-ken").body
    perdure("workflow", "resume", "to-ken")
    assert service.last("/api/v1/resume/to-ken").body is None
    service.answer("POST", "/api/v1/resume/to-ken", ServiceError(Code.WAITPOINT_USED, "completed before"))
    outcome = perdure("workflow", "resume", "to-ken", "--input", "1")
    assert (Exit.REFUSED, True) == (outcome.status, "WAITPOINT_USED" in outcome.err)


def test_query_prints_the_answer(perdure: Perdure, service: FakeService) -> None:
    """The answer of a query is JSON, also as text."""
    service.answer("POST", f"{ORDER}/query/status", QueryWorkflowAnswer(result=Raw(b'{"state":"new"}')))
    assert (Exit.DONE, '{"state":"new"}\n', "") == perdure("workflow", "query", "order-1", "status", "--timeout", "3s")
    assert "PT3S" == service.last(f"{ORDER}/query/status").body["timeout"]


@pytest.mark.parametrize(
    ("command", "path", "answer"),
    [
        (("start", "order", "--id", "order-1"), ORDER, STARTED),
        (("signal", "order-1", "approve"), f"{ORDER}/signal/approve", Acknowledged(run_id="run-1")),
        (("query", "order-1", "status"), f"{ORDER}/query/status", QueryWorkflowAnswer()),
        (
            ("update", "order-1", "add"),
            f"{ORDER}/update/add",
            UpdateWorkflowAnswer(update_id="u", run_id="run-1", stage="COMPLETED"),
        ),
    ],
)
def test_headers_are_sent_along(
    perdure: Perdure, service: FakeService, command: tuple[str, ...], path: str, answer: msgspec.Struct
) -> None:
    """`--header` is for interceptors, whatever is sent."""
    service.answer("POST", path, answer)
    assert Exit.DONE == perdure("workflow", *command, "--header", '{"tenant":"acme"}').status
    assert {"tenant": "acme"} == service.last(path).body["header"]


def test_stack_prints_the_trace(perdure: Perdure, service: FakeService) -> None:
    """The stack trace is text, not a JSON string."""
    service.answer("POST", f"{ORDER}/query/__stack_trace", QueryWorkflowAnswer(result=Raw(b'"line 1\\nline 2"')))
    assert (Exit.DONE, "line 1\nline 2\n", "") == perdure("workflow", "stack", "order-1")


def test_update_waits_for_its_outcome(perdure: Perdure, service: FakeService) -> None:
    """An answer of an earlier stage is asked for again, with the same update id."""
    path = f"{ORDER}/update/set_address"
    accepted = UpdateWorkflowAnswer(update_id="u", run_id="run-1", stage="ACCEPTED")
    service.answer("POST", path, accepted, msgspec.structs.replace(accepted, stage="COMPLETED", result=Raw(b"2")))
    assert (Exit.DONE, "2\n", "") == perdure("workflow", "update", "order-1", "set_address", "--input", '"Oslo"')
    assert 1 == len({asked.body["update_id"] for asked in service.asked if asked.path == path})


def test_the_outcome_of_an_update_is_fetched_later(perdure: Perdure, service: FakeService) -> None:
    """By its id, as often as it takes; one that failed is an error."""
    path = f"{ORDER}/updates/u-1"
    accepted = UpdateWorkflowAnswer(update_id="u-1", run_id="run-1", stage="ACCEPTED")
    done = msgspec.structs.replace(accepted, stage="COMPLETED", result=Raw(b"2"))
    service.answer("GET", path, accepted, done, msgspec.structs.replace(done, failure=DECLINED))
    assert (Exit.DONE, "2\n", "") == perdure("workflow", "update-result", "order-1", "u-1")
    assert Exit.NOT_DONE == perdure("workflow", "update-result", "order-1", "u-1").status


def test_an_update_with_start_says_both(perdure: Perdure, service: FakeService) -> None:
    """One request has the start and the update; it is repeated with the same ids until the stage is there."""
    path = f"{ORDER}/update-with-start/add"
    accepted = UpdateWithStartAnswer(
        start=StartWorkflowAnswer(workflow_id="order-1", run_id="run-1"),
        update=UpdateWorkflowAnswer(update_id="u", run_id="run-1", stage="ACCEPTED"),
    )
    done = msgspec.structs.replace(
        accepted, update=msgspec.structs.replace(accepted.update, stage="COMPLETED", result=Raw(b"2"))
    )
    service.answer("POST", path, accepted, done, accepted)
    words = ["order", "--id", "order-1", "--input", '"Ada"', "--update-name", "add", "--update-input", "3"]
    words += ["--id-conflict-policy", "use_existing", "--update-id", "u"]
    assert (Exit.DONE, "2\n", "") == perdure("workflow", "execute-update-with-start", *words)
    body = service.last(path).body
    assert (["Ada"], "use_existing") == (body["start"]["input"], body["start"]["id_conflict_policy"])
    assert ([3], "u") == (body["update"]["input"], body["update"]["update_id"])
    assert 1 == len({asked.body["start"]["request_id"] for asked in service.asked if asked.path == path})
    accepted_line = "accepted: update id u\n"
    assert (Exit.DONE, accepted_line, "") == perdure("workflow", "start-update-with-start", *words)
    assert "ACCEPTED" == service.last(path).body["update"]["wait_for_stage"]


@pytest.mark.parametrize("command", ["start-update-with-start", "execute-update-with-start"])
def test_an_update_with_start_says_what_becomes_of_a_running_one(perdure: Perdure, command: str) -> None:
    """There is no good default: the error names the three."""
    outcome = perdure("workflow", command, "order", "--id", "order-1", "--update-name", "add")
    assert Exit.USAGE == outcome.status
    assert "Missing option '--id-conflict-policy'" in outcome.err
    assert "use_existing" in outcome.err


def test_headers_go_with_what_comes_along(perdure: Perdure, service: FakeService) -> None:
    """The signal and the update of a start have those of the start."""
    service.answer("POST", ORDER, STARTED)
    header = ("--header", 'tenant="acme"')
    perdure("workflow", "signal-with-start", "order", "--id", "order-1", "--signal-name", "approve", *header)
    start = service.last(ORDER).body
    assert {"tenant": "acme"} == start["header"] == start["start_signal"]["header"]


def test_a_rejected_update_is_not_done(perdure: Perdure, service: FakeService) -> None:
    """A rejection ends with status 1 and says why."""
    failure = Failure(message="no such street", info=ApplicationFailure(type="ValueError"))
    answer = UpdateWorkflowAnswer(update_id="u", run_id="run-1", stage="COMPLETED", failure=failure)
    service.answer("POST", f"{ORDER}/update/set_address", answer)
    line = "error: UPDATE_FAILED: order-1: ValueError: no such street\n"
    assert (Exit.NOT_DONE, "", line) == perdure("workflow", "update", "order-1", "set_address")


def test_terminate_says_why(perdure: Perdure, service: FakeService) -> None:
    """The reason goes with the request."""
    service.answer("POST", f"{ORDER}/terminate", Acknowledged(run_id="run-1"))
    assert Exit.DONE == perdure("workflow", "terminate", "order-1", "--reason", "a mistake").status
    assert "a mistake" == service.last(f"{ORDER}/terminate").body["reason"]


def test_the_key_is_shown(perdure: Perdure, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API key goes with every request."""
    monkeypatch.setenv("PERDURE_API_KEY", "secret")
    service.answer("GET", f"{HERE}/workflow-count", CountWorkflowsAnswer(count=1))
    perdure("workflow", "count")
    assert "Bearer secret" == service.last(f"{HERE}/workflow-count").headers["Authorization"]


def test_another_namespace_is_asked(perdure: Perdure, service: FakeService) -> None:
    """--namespace is part of the path."""
    path = "/api/v1/namespaces/a%20b/workflow-count"
    service.answer("GET", path, CountWorkflowsAnswer(count=3))
    assert "3\n" == perdure("workflow", "count", "--namespace", "a b").out


@pytest.mark.parametrize(("word", "said"), [("pause", "paused order-1\n"), ("unpause", "order-1 goes on\n")])
def test_pausing_says_why(perdure: Perdure, service: FakeService, word: str, said: str) -> None:
    """The reason goes into the request, with an id that makes a repeat safe."""
    service.answer("POST", f"{ORDER}/{word}", Acknowledged(run_id="run-1"))
    outcome = perdure("workflow", word, "order-1", "--reason", "lunch", "--identity", "ada")
    assert (Exit.DONE, said) == (outcome.status, outcome.out)
    body = service.last(f"{ORDER}/{word}").body
    assert ("lunch", "ada") == (body["reason"], body["identity"])
    assert body["request_id"]


def test_reset_says_where_to(perdure: Perdure, service: FakeService) -> None:
    """The point and what is left out go into the request."""
    service.answer("POST", f"{ORDER}/reset", ResetWorkflowAnswer(run_id="run-2"))
    outcome = perdure("workflow", "reset", "order-1", "--activity-id", "3", "--reapply-exclude", "signal")
    assert (Exit.DONE, "order-1 goes on as run run-2\n") == (outcome.status, outcome.out)
    body = service.last(f"{ORDER}/reset").body
    assert ("3", ["signal"]) == (body["activity_id"], body["reapply_exclude"])


@pytest.mark.parametrize("points", [(), ("--type", "first", "--event-id", "4")])
def test_reset_wants_one_point(perdure: Perdure, service: FakeService, points: tuple[str, ...]) -> None:
    """None, or two, are a mistake of the command line."""
    assert Exit.USAGE == perdure("workflow", "reset", "order-1", *points).status
    assert [] == [asked for asked in service.asked if asked.method == "POST"]


def test_reopen_tells_what_it_does_not_undo(perdure: Perdure, service: FakeService) -> None:
    """The notes of the service are printed below."""
    answer = ReopenWorkflowAnswer(run_id="run-2", action="RESET", notes=("the parent was told",))
    service.answer("POST", f"{ORDER}/reopen", answer)
    outcome = perdure("workflow", "reopen", "order-1")
    assert (Exit.DONE, "order-1 goes on as run run-2\nthe parent was told\n") == (outcome.status, outcome.out)


def test_reopen_by_query_goes_on_after_a_refusal(perdure: Perdure, service: FakeService) -> None:
    """Each is reopened by its run; the status says that not all were."""
    other = msgspec.structs.replace(INFO, workflow_id="order-2", run_id="run-9")
    service.answer("GET", f"{HERE}/workflows", ListWorkflowsAnswer(executions=(INFO, other)))
    service.answer("POST", f"{ORDER}/reopen", ServiceError(Code.NOTHING_TO_REOPEN, "it runs"))
    service.answer("POST", f"{HERE}/workflows/order-2/reopen", ReopenWorkflowAnswer(run_id="run-10", action="RESET"))
    outcome = perdure("workflow", "reopen", "--query", "WorkflowType = 'order'", "--output", "json")
    assert Exit.NOT_DONE == outcome.status
    assert ["run-1", "run-10"] == [each["run_id"] for each in json.loads(outcome.out)]
    assert "run-9" == service.last(f"{HERE}/workflows/order-2/reopen").body["run_id"]


def test_reopen_by_query_is_bounded(perdure: Perdure, service: FakeService) -> None:
    """More than the limit is told; a dry run asks for nothing to be done."""
    other = msgspec.structs.replace(INFO, workflow_id="order-2", run_id="run-9")
    service.answer("GET", f"{HERE}/workflows", ListWorkflowsAnswer(executions=(INFO, other)))
    service.answer("POST", f"{ORDER}/reopen", ReopenWorkflowAnswer(run_id="run-1", action="RESET"))
    outcome = perdure("workflow", "reopen", "--query", "", "--limit", "1", "--dry-run")
    assert Exit.NOT_DONE == outcome.status
    assert service.last(f"{ORDER}/reopen").body["dry_run"]
