"""Updates: accepted, completed, and admitted again after a reset."""

# msgspec copies an empty default for each instance.
# ruff: noqa: RUF012

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Raw

from perdure_proto.events.event import Event
from perdure_proto.failures import Failure
from perdure_proto.payload import EMPTY_LIST, NULL


class WorkflowExecutionUpdateAccepted(Event, frozen=True, kw_only=True):
    """An update passed its validator; its handler runs from here."""

    type_id: ClassVar[int] = 41
    update_id: str
    update_name: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    identity: str = ""
    header: dict[str, Any] = {}
    accepted_request_sequencing_event_id: int = 0


class WorkflowExecutionUpdateCompleted(Event, frozen=True, kw_only=True):
    """The handler of an update returned, or raised (`failure`)."""

    type_id: ClassVar[int] = 43
    update_id: str
    accepted_event_id: int
    result: Raw = NULL
    encoding: str = ""
    failure: Failure | None = None
    identity: str = ""


class WorkflowExecutionUpdateAdmitted(Event, frozen=True, kw_only=True):
    """An update is to be delivered again, after a reset."""

    type_id: ClassVar[int] = 47
    update_id: str
    update_name: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    identity: str = ""
    header: dict[str, Any] = {}
