"""Accounts as lines that can be compared, and what two of them do not agree on, side by side.

Chance is taken out: ids become numbers in the order in which they come, times go. Where more than one stimulus may be
outstanding, the order of events is chance's too: then each run is the sorted list of what it was told and what it
ordered, without workflow tasks and without what points at other events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any, Final

import msgspec

from perdure_proto import events as ev
from perdure_proto.events import AnyEvent
from tests.differential.play import Account
from tests.differential.rest import Run

TIMES: Final = frozenset(
    {
        "event_time",
        "started_at",
        "start_time",
        "close_time",
        "execution_time",
        "run_expiration_time",
        "execution_expiration_time",
        "workflow_execution_expiration_time",
        "paused_for",
    }
)
HOSTS: Final = frozenset({"identity", "server", "sticky_worker"})
SIZES: Final = frozenset({"history_size_bytes"})
"""Ids and times are written at the length that they happen to have."""
DROPPED: Final = TIMES | HOSTS | SIZES | {"stack_trace", "carried_request_ids"}
POINTERS: Final = re.compile("(^|_)event_id$")
COUNTS: Final = frozenset({"history_length"})
GIVEN_IN_TURN: Final = frozenset({"request_id", "timer_id", "activity_id"})
"""Names that say in which order things were begun."""
RACES: Final = (ev.ExternalWorkflowExecutionCancelRequested,)
"""That a child was asked to end, and its end, come at once even where nothing else does."""
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")
UNORDERED: Final = frozenset(
    {
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "ActivityTaskCancelRequested",
        "ActivityTaskCanceled",
    }
)
"""What a race decides: which news share a workflow task, and how far a dropped activity had come."""
WIDTH: Final = 78


def lines_of(account: Account, *, in_order: bool) -> list[str]:
    """The account as it is compared."""
    cleaner = Cleaner(account)
    lines = []
    for each in account.operations:
        answer = cleaner.text([each.code, each.answer])
        lines.append(f"> {each.do} {each.on} {cleaner.text(each.values)} -> {answer}")
    for run in account.runs:
        lines.append(f"# {cleaner.text(run.run_id)}")
        is_raced = not in_order or any(isinstance(event, RACES) for event in run.events)
        lines.extend(sorted(_heard(run, cleaner)) if is_raced else _events(run, cleaner))
        described = account.descriptions[run.run_id]
        lines.append(f"= {cleaner.text(_without(described, COUNTS) if is_raced else described)}")
    return lines


class Cleaner:
    """Takes chance out of values; knows the ids that have come up."""

    def __init__(self, account: Account) -> None:
        self._known: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for run in account.runs:
            number = numbers[run.workflow_id] = numbers.get(run.workflow_id, 0) + 1
            self._known[run.run_id] = f"{run.workflow_id}#{number}"

    def clean(self, value: Any) -> Any:
        match value:
            case dict():
                return {name: self.clean(one) for name, one in value.items() if name not in DROPPED}
            case list() | tuple():
                return [self.clean(one) for one in value]
            case str():
                return UUID.sub(self._number, value)
            case _:
                return value

    def text(self, value: Any) -> str:
        return msgspec.json.encode(self.clean(value)).decode()

    def _number(self, found: re.Match[str]) -> str:
        return self._known.setdefault(found[0], f"id-{len(self._known) + 1}")


def _events(run: Run, cleaner: Cleaner) -> Iterator[str]:
    """Every event, in order, with all that it says."""
    for event in run.events:
        yield f"{event.event_id:>5} {event.event_type} {cleaner.text(_plain(event))}"


def _heard(run: Run, cleaner: Cleaner) -> Iterator[str]:
    """What was told and ordered."""
    dropped = {event.started_event_id for event in run.events if isinstance(event, ev.ActivityTaskCanceled)}
    for event in run.events:
        is_refused = isinstance(event, ev.WorkflowTaskFailed) and event.cause == "UNHANDLED_COMMAND"
        if event.event_type not in UNORDERED and event.event_id not in dropped and not is_refused:
            pointers = {name for name in event.__struct_fields__ if POINTERS.search(name)} | GIVEN_IN_TURN
            yield f"      {event.event_type} {cleaner.text(_without(_plain(event), pointers))}"


def _plain(event: AnyEvent) -> dict[str, Any]:
    """An event as it stands in the log; a task queue that names a worker says where a run is cached."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    dropped = {"event_id", "event_type"} | ({"task_queue"} if event.event_type == "WorkflowTaskScheduled" else set())
    return {name: value for name, value in found.items() if name not in dropped}


def _without(value: Any, names: frozenset[str] | set[str]) -> Any:
    """Without what goes by one of these names, at any depth."""
    match value:
        case dict():
            return {name: _without(one, names) for name, one in value.items() if name not in names}
        case list():
            return [_without(one, names) for one in value]
        case _:
            return value


def difference(left: list[str], right: list[str], around: int = 2) -> str:
    """Two columns of what differs, with some lines around; empty: nothing does."""
    shown: list[str] = []
    for group in SequenceMatcher(None, left, right, autojunk=False).get_grouped_opcodes(around):
        shown.append("-" * (2 * WIDTH + 3))
        for tag, left_from, left_to, right_from, right_to in group:
            shown.extend(_beside(left[left_from:left_to], right[right_from:right_to], " " if tag == "equal" else "!"))
    return "\n".join(shown)


def _beside(left: list[str], right: list[str], mark: str) -> Iterator[str]:
    for place in range(max(len(left), len(right))):
        first = left[place] if place < len(left) else ""
        second = right[place] if place < len(right) else ""
        rows = max(len(first), len(second), 1)
        for begin in range(0, rows, WIDTH):
            yield f"{first[begin : begin + WIDTH]:<{WIDTH}} {mark} {second[begin : begin + WIDTH]}"
