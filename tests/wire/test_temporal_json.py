"""Histories in Temporal's JSON format: what is written, what is read, and that nothing is lost between."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from perdure_proto import events as ev
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import EVENT_TYPES, AnyEvent, Event
from perdure_proto.failures import (
    ActivityFailure,
    ApplicationFailure,
    Failure,
    ServerFailure,
    TimeoutFailure,
)
from perdure_proto.temporal_json import history_from_json, history_to_json
from perdure_proto.temporal_json.table import EVENTS
from tests.wire.strategies import structs

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


def exported(event: Event) -> dict[str, Any]:
    """An event as the file has it."""
    [only] = json.loads(history_to_json([event]))["events"]
    return dict(only)


def attributes(event: Event) -> dict[str, Any]:
    """The attributes of an event in the file."""
    [only] = [value for name, value in exported(event).items() if name.endswith("EventAttributes")]
    return dict(only)


def read(event_type: str | int, **found: object) -> Any:
    """The event that a file with these attributes holds."""
    names = {type_.type_id: name for name, type_ in EVENT_TYPES.items()}
    name = event_type if isinstance(event_type, str) else names[event_type]
    event = {
        "eventId": "1",
        "eventTime": "2026-02-03T04:05:06Z",
        "eventType": event_type,
        f"{name[0].lower()}{name[1:]}EventAttributes": found,
    }
    [only] = history_from_json(json.dumps({"events": [event]}).encode())
    return only


def payload(data: bytes, encoding: str = "json/plain", **metadata: str) -> dict[str, Any]:
    names = {"encoding": encoding, **metadata}
    return {
        "metadata": {key: b64encode(value.encode()).decode() for key, value in names.items()},
        "data": b64encode(data).decode(),
    }


def signaled(**fields: Any) -> ev.WorkflowExecutionSignaled:
    return ev.WorkflowExecutionSignaled(event_id=1, event_time=NOW, signal_name="go", **fields)


@pytest.mark.parametrize("type_", EVENT_TYPES.values(), ids=lambda type_: type_.__name__)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_event_comes_back_equal(type_: type[Event], data: st.DataObject) -> None:
    """Whatever an event holds, it is the same after it was exported and read."""
    event = data.draw(structs(type_))

    assert [event] == history_from_json(history_to_json([event]))


def test_every_event_type_has_a_table() -> None:
    """No event type is without a table."""
    assert set(EVENT_TYPES.values()) == set(EVENTS)


def test_only_what_temporal_lacks_is_carried() -> None:
    """The fields without a place among Temporal's attributes are these and no others."""
    carried = {
        (type_.__name__, name)
        for type_ in EVENT_TYPES.values()
        for name in type_.__struct_fields__
        if name not in placed_fields(type_)
    }

    assert {
        ("ActivityTaskScheduled", "concurrency_key"),
        ("ActivityTaskScheduled", "concurrency_max"),
        ("ActivityTaskStarted", "started_at"),
        ("WorkflowExecutionCancelRequested", "request_id"),
        ("WorkflowExecutionOptionsUpdated", "build_id"),
        ("WorkflowExecutionOptionsUpdated", "workflow_execution_expiration_time"),
        ("WorkflowExecutionOptionsUpdated", "workflow_task_timeout"),
        ("WorkflowExecutionSignaled", "request_id"),
        ("WorkflowExecutionStarted", "carried_request_ids"),
        ("WorkflowExecutionStarted", "last_completion_run_id"),
        ("WorkflowExecutionStarted", "request_id"),
        ("WorkflowExecutionStarted", "standalone_activity_id"),
        ("WorkflowExecutionTerminated", "reset_event_id"),
        ("WorkflowExecutionTerminated", "reset_run_id"),
        ("WorkflowExecutionTimedOut", "failure"),
        ("WorkflowExecutionUnpaused", "paused_for"),
        ("WorkflowTaskFailed", "replaced_run_id"),
    } == carried


def placed_fields(type_: type[Event]) -> set[str]:
    return {field for entry in EVENTS[type_].entries for field in entry.fields}


def test_spelling_of_an_event() -> None:
    """An event is written in the spelling of Temporal's own exports."""
    event = ev.TimerStarted(
        event_id=7,
        event_time=NOW,
        timer_id="t",
        start_to_fire_timeout=timedelta(seconds=1.5),
        summary="tea",
        workflow_task_completed_event_id=4,
    )

    assert {
        "eventId": "7",
        "eventTime": "2026-02-03T04:05:06Z",
        "userMetadata": {"summary": payload(b'"tea"')},
        "eventType": "EVENT_TYPE_TIMER_STARTED",
        "timerStartedEventAttributes": {
            "timerId": "t",
            "startToFireTimeout": "1.5s",
            "workflowTaskCompletedEventId": "4",
        },
    } == exported(event)


def test_what_only_perdure_has_is_carried_under_its_own_name() -> None:
    """A field that Temporal does not have stands beside the attributes as perdure encodes it."""
    event = ev.WorkflowExecutionUnpaused(event_id=1, event_time=NOW, reason="go", paused_for=timedelta(minutes=2))

    assert {"reason": "go", "perdurePausedFor": "PT120S"} == attributes(event)


def test_a_word_that_temporal_lacks_is_carried() -> None:
    """A cause of our own is not written among Temporal's, and is not lost."""
    event = ev.WorkflowTaskFailed(
        event_id=1, event_time=NOW, scheduled_event_id=2, started_event_id=3, cause="WORKER_LOST"
    )

    assert {"scheduledEventId": "2", "startedEventId": "3", "perdureCause": "WORKER_LOST"} == attributes(event)


def test_keyword_arguments_are_a_marked_payload() -> None:
    """Keyword arguments are the last payload, marked in its metadata."""
    event = signaled(input=Raw(b"[1]"), kwargs=Raw(b'{"a":2}'))

    assert [payload(b"1"), payload(b'{"a":2}', perdure="kwargs")] == attributes(event)["input"]["payloads"]


def test_spaces_in_a_payload_are_kept() -> None:
    """A payload comes back byte for byte, also where Temporal's envelope cannot hold its spaces."""
    event = signaled(input=Raw(b"[1, 2]"))

    [back] = history_from_json(history_to_json([event]))

    assert event == back


def test_base64_json_is_plain_json_there() -> None:
    """A value that Postgres could not hold is an ordinary JSON payload in the export."""
    text = b'"a\\u0000b"'
    event = signaled(input=Raw(json.dumps([b64encode(text).decode()]).encode()), encoding="json/base64")

    assert [payload(text, perdure="json/base64")] == attributes(event)["input"]["payloads"]


def test_payloads_of_a_codec_keep_their_encoding() -> None:
    """A payload that perdure cannot look into is read as base64 under its encoding."""
    event = read("WorkflowExecutionSignaled", signalName="go", input={"payloads": [payload(b"\0\1", "binary/sealed")]})

    assert signaled(input=Raw(b'["AAE="]'), encoding="binary/sealed") == event


def test_payloads_of_several_encodings_are_kept_whole() -> None:
    """A list that has no one encoding is read, and written again as it was."""
    mixed = {"payloads": [payload(b"1"), payload(b"\0", "binary/plain"), payload(b"", "binary/null")]}

    event = read("WorkflowExecutionSignaled", signalName="go", input=mixed)

    assert "temporal/payload" == event.encoding
    assert [payload(b"1"), payload(b"\0", "binary/plain")] == attributes(event)["input"]["payloads"][:2]


def test_metadata_of_a_codec_is_kept() -> None:
    """What a codec noted beside its encoding, such as a key's name, is not lost."""
    sealed = {"payloads": [payload(b"\0", "binary/sealed", key="k1")]}

    event = read("WorkflowExecutionSignaled", signalName="go", input=sealed)

    assert sealed == attributes(event)["input"]


def test_nothing_is_a_null_payload() -> None:
    """A payload that stands for nothing is null here."""
    event = read("ActivityTaskCompleted", result={"payloads": [payload(b"", "binary/null")]})

    assert Raw(b"null") == event.result


def test_a_sealed_memo_value_is_kept_as_its_payload() -> None:
    """A memo has no encoding here, so a sealed value is the payload itself, and is written as such."""
    sealed = {"fields": {"plain": payload(b"1"), "sealed": payload(b"\0", "binary/sealed")}}

    event = read("WorkflowPropertiesModified", upsertedMemo=sealed)

    assert {"plain": 1, "sealed": payload(b"\0", "binary/sealed")} == event.upserted_memo
    assert sealed == attributes(event)["upsertedMemo"]


def test_marker_details_are_payloads_by_name() -> None:
    """Each value of a marker's object is a list of payloads under its name."""
    event = ev.MarkerRecorded(
        event_id=1,
        event_time=NOW,
        marker_name="patch",
        details=Raw(b'{"id":"new-tax","deprecated":false}'),
        workflow_task_completed_event_id=4,
    )

    assert {
        "id": {"payloads": [payload(b'"new-tax"')]},
        "deprecated": {"payloads": [payload(b"false")]},
    } == attributes(event)["details"]
    assert [event] == history_from_json(history_to_json([event]))


def test_marker_details_of_several_payloads_are_arrays() -> None:
    """A name under which there is not exactly one payload is an array."""
    two = {"both": {"payloads": [payload(b"1"), payload(b"2")]}, "none": {}}

    assert Raw(b'{"both":[1,2],"none":[]}') == read("MarkerRecorded", markerName="m", details=two).details


def test_failures_are_told_by_their_info() -> None:
    """A failure and its causes are Temporal's failures, what only perdure has carried inside."""
    failure = Failure(
        message="activity failed",
        info=ActivityFailure(scheduled_event_id=5, activity_type="charge", retry_state="TIMEOUT"),
        cause=Failure(message="lost", info=ServerFailure(code="WORKER_LOST"), stack_trace="at x"),
    )
    event = ev.WorkflowExecutionFailed(event_id=1, event_time=NOW, failure=failure, workflow_task_completed_event_id=4)

    assert {
        "message": "activity failed",
        "activityFailureInfo": {
            "scheduledEventId": "5",
            "activityType": {"name": "charge"},
            "retryState": "RETRY_STATE_TIMEOUT",
        },
        "cause": {"message": "lost", "serverFailureInfo": {"perdureCode": "WORKER_LOST"}, "stackTrace": "at x"},
    } == attributes(event)["failure"]


def test_a_timeout_failure_in_the_older_spelling() -> None:
    """Enums inside failures are read in both spellings."""
    found = {"message": "late", "timeoutFailureInfo": {"timeoutType": "ScheduleToClose"}, "encodedAttributes": {}}

    event = read("ActivityTaskTimedOut", failure=found, scheduledEventId=5, retryState="NonRetryableFailure")

    assert Failure(message="late", info=TimeoutFailure(timeout_type="SCHEDULE_TO_CLOSE")) == event.failure
    assert "NON_RETRYABLE_FAILURE" == event.retry_state


def test_a_failure_of_a_kind_that_is_not_here() -> None:
    """A failure without an info that perdure has is an application failure that keeps its message."""
    event = read("ActivityTaskFailed", failure={"message": "nexus", "nexusOperationExecutionFailureInfo": {"a": 1}})

    assert Failure(message="nexus", info=ApplicationFailure()) == event.failure


def test_updates_are_requests() -> None:
    """An accepted update carries the request as Temporal's SDKs expect it."""
    event = ev.WorkflowExecutionUpdateAccepted(
        event_id=1,
        event_time=NOW,
        update_id="u1",
        update_name="add",
        input=Raw(b"[1]"),
        identity="me",
        accepted_request_sequencing_event_id=5,
    )

    assert {
        "protocolInstanceId": "u1",
        "acceptedRequestMessageId": "u1/request",
        "acceptedRequestSequencingEventId": "5",
        "acceptedRequest": {
            "meta": {"updateId": "u1", "identity": "me"},
            "input": {"name": "add", "args": {"payloads": [payload(b"1")]}},
        },
    } == attributes(event)


def test_an_update_without_its_request_keeps_its_id() -> None:
    """After a reset Temporal leaves the request out of the acceptance, which still names the update."""
    assert "u1" == read("WorkflowExecutionUpdateAccepted", protocolInstanceId="u1").update_id


@pytest.mark.parametrize("failed", [False, True])
def test_the_outcome_of_an_update_is_one_of_two(failed: bool) -> None:
    """A completed update has a success or a failure, never both."""
    failure = Failure(message="no", info=ApplicationFailure()) if failed else None
    event = ev.WorkflowExecutionUpdateCompleted(
        event_id=1, event_time=NOW, update_id="u1", accepted_event_id=2, failure=failure
    )

    assert ["failure" if failed else "success"] == list(attributes(event)["outcome"])


def test_a_sticky_task_names_both_queues() -> None:
    """The queue that all workers share is read from a sticky task, not that of the one worker."""
    queue = {"name": "worker-1-sticky", "kind": "TASK_QUEUE_KIND_STICKY", "normalName": "orders"}

    event = read("WorkflowTaskScheduled", taskQueue=queue, startToCloseTimeout="10s", attempt=1)

    assert ("orders", True) == (event.task_queue, event.sticky)


def test_an_older_checksum_is_the_build() -> None:
    """Histories of older servers name the build a checksum."""
    assert "abc" == read("WorkflowTaskCompleted", binaryChecksum="abc").build_id


def test_zero_timeouts_are_none() -> None:
    """Temporal writes zero where there is no timeout."""
    event = read("ActivityTaskScheduled", heartbeatTimeout="0s", startToCloseTimeout="60s")

    assert (None, timedelta(minutes=1)) == (event.heartbeat_timeout, event.start_to_close_timeout)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (7, "CANCEL_REQUESTED"),
        ("RETRY_STATE_TIMEOUT", "TIMEOUT"),
        ("Timeout", "TIMEOUT"),
        ("RETRY_STATE_OF_TOMORROW", "IN_PROGRESS"),
        (99, "IN_PROGRESS"),
        (0, "IN_PROGRESS"),
    ],
)
def test_enums_in_every_spelling(found: object, expected: str) -> None:
    """An enum is a word in either spelling or a number; what is not known is unspecified."""
    assert expected == read("ActivityTaskFailed", retryState=found).retry_state


@pytest.mark.parametrize("found", ["BAD_START_TIMER_ATTRIBUTES", "BadSearchAttributes", 12])
def test_bad_commands_have_one_cause_here(found: object) -> None:
    """Temporal's many causes of a bad command are read as the one that perdure has."""
    assert "BAD_COMMAND" == read("WorkflowTaskFailed", cause=found).cause


@pytest.mark.parametrize("found", ["2026-02-03T04:05:06.123456789Z", "2026-02-03T05:05:06.123457+01:00"])
def test_instants_with_nanoseconds_and_offsets(found: str) -> None:
    """Nanoseconds are rounded to what Python can hold, and offsets are understood."""
    event = read("WorkflowExecutionStarted", workflowExecutionExpirationTime=found)

    assert NOW + timedelta(microseconds=123457) == event.workflow_execution_expiration_time


@pytest.mark.parametrize(
    ("found", "expected"),
    [("10s", 10.0), ("0.000000001s", 0.0), ("-1.5s", -1.5), ("86400s", 86400.0)],
)
def test_durations(found: str, expected: float) -> None:
    """A duration is seconds with decimals, those beyond microseconds cut off."""
    assert timedelta(seconds=expected) == read("TimerStarted", startToFireTimeout=found).start_to_fire_timeout


@pytest.mark.parametrize("event_type", ["EVENT_TYPE_TIMER_FIRED", "TimerFired", 18])
def test_event_types_in_every_spelling(event_type: str | int) -> None:
    """An event type is read in both spellings and by its number."""
    event = {
        "eventId": 3,
        "eventTime": "2026-02-03T04:05:06Z",
        "eventType": event_type,
        "timerFiredEventAttributes": {"timerId": "t", "startedEventId": "2", "addedTomorrow": {}},
        "workerMayIgnore": False,
    }
    expected: list[AnyEvent] = [ev.TimerFired(event_id=3, event_time=NOW, timer_id="t", started_event_id=2)]

    assert expected == history_from_json(json.dumps([event]).encode())


def test_null_is_absent() -> None:
    """Null stands for a default wherever it is written."""
    event = read("WorkflowExecutionSignaled", signalName="go", input=None, header={"fields": None}, identity=None)

    assert signaled() == event


def test_events_share_no_dictionaries() -> None:
    """A default that can be changed belongs to one event alone."""
    events = [read("UpsertWorkflowSearchAttributes"), read("UpsertWorkflowSearchAttributes")]

    assert events[0].search_attributes is not events[1].search_attributes
    assert signaled().header is not read("WorkflowExecutionSignaled", signalName="go").header


def test_unknown_event_types_are_named() -> None:
    """A history with event types that perdure does not have is refused, and all of them are named."""
    types = ["EVENT_TYPE_NEXUS_OPERATION_STARTED", "EVENT_TYPE_TIMER_FIRED", "EVENT_TYPE_OF_TOMORROW"]
    text = json.dumps({"events": [{"eventType": name} for name in types]}).encode()

    with pytest.raises(ServiceError, match="EVENT_TYPE_NEXUS_OPERATION_STARTED, EVENT_TYPE_OF_TOMORROW") as refused:
        history_from_json(text)

    assert Code.INVALID_ARGUMENT == refused.value.code
    assert {"event_types": ["EVENT_TYPE_NEXUS_OPERATION_STARTED", "EVENT_TYPE_OF_TOMORROW"]} == refused.value.details


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"startToFireTimeout": "soon"}, "startToFireTimeout: 'soon' is not a duration"),
        ({"startToFireTimeout": "9" * 20 + "s"}, "too long a duration"),
        ({"startToFireTimeout": 5}, "startToFireTimeout: Expected `str`"),
        ({"timerId": {}}, "timerId: Expected `str`"),
        ({"workflowTaskCompletedEventId": "four"}, "workflowTaskCompletedEventId: Expected `int`"),
    ],
)
def test_a_field_that_does_not_fit_is_named(found: dict[str, object], said: str) -> None:
    """An error says which field of which event is wrong."""
    with pytest.raises(ServiceError, match=said) as refused:
        read("TimerStarted", **found)

    assert Code.INVALID_ARGUMENT == refused.value.code
    assert "event 1 (EVENT_TYPE_TIMER_STARTED)" in refused.value.message


@pytest.mark.parametrize("data", ["?", b64encode(b"{").decode()])
def test_a_payload_that_is_no_json_is_refused(data: str) -> None:
    """A payload that says it is JSON and is not cannot be read."""
    sealed = {"payloads": [payload(b"1") | {"data": data}]}

    with pytest.raises(ServiceError, match="input: "):
        read("WorkflowExecutionSignaled", signalName="go", input=sealed)


def test_an_event_without_a_time_is_refused() -> None:
    """Time has no default."""
    with pytest.raises(ServiceError, match="event_time is missing"):
        history_from_json(b'{"events":[{"eventId":"1","eventType":"TimerFired"}]}')


@pytest.mark.parametrize(
    ("text", "code"),
    [(b"{", Code.MALFORMED_JSON), (b'"x"', Code.INVALID_ARGUMENT), (b'{"events":7}', Code.INVALID_ARGUMENT)],
)
def test_what_is_no_history_is_refused(text: bytes, code: Code) -> None:
    """A file that is no history is refused with the reason."""
    with pytest.raises(ServiceError) as refused:
        history_from_json(text)

    assert code == refused.value.code


def test_url_safe_base64_is_read() -> None:
    """Both alphabets of base64 are proto3 JSON."""
    sealed = payload(b'"\xc3\xbf\xc3\xbe?"')
    sealed["data"] = sealed["data"].replace("+", "-").replace("/", "_").rstrip("=")

    event = read("ActivityTaskCompleted", result={"payloads": [sealed]})

    assert "ÿþ?" == json.loads(bytes(event.result))
    assert b64decode(attributes(event)["result"]["payloads"][0]["data"]) == bytes(event.result)


@pytest.mark.parametrize("details", [None, "", "packs **book**"])
def test_current_details_keep_what_is_unsaid_apart(details: str | None) -> None:
    """That a workflow took its word back is not that it said nothing."""
    event = ev.WorkflowTaskCompleted(
        event_id=1,
        event_time=datetime(2026, 1, 1, tzinfo=UTC),
        scheduled_event_id=2,
        started_event_id=3,
        current_details=details,
    )
    assert [event] == list(history_from_json(history_to_json([event])))
