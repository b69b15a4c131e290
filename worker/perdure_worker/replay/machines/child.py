"""Child workflows: from the command that starts one to the event that closes it, and the four ways to cancel.

`try_cancel` asks and waits no longer, `wait_request` asks and waits until the child has been asked, `wait_cancel` asks
and waits for what comes of it, `abandon` only stops waiting. A child that is cancelled before its command left is
dropped: there never was one. One that has not started yet is asked at once, since what one execution sends another
arrives in order. Whether it was asked is told by the machine of that request, in `external`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from perdure_proto.options import CancellationType
from perdure_worker.replay.machines.external import CancelMachine
from perdure_worker.replay.machines.table import Machine

State = Literal[
    "created",
    "initiated",
    "started",
    "awaiting_cancel",
    "awaiting_cancel_started",
    "awaiting_request",
    "awaiting_request_started",
    "unheard",
    "unheard_started",
    "dropped",
    "closed",
]
Input = Literal[
    "recorded",
    "start_failed",
    "started",
    "closed",
    "cancel_requested",
    "cancel_failed",
    "try_cancel",
    "wait_cancel",
    "wait_request",
    "abandon",
]
Action = Literal["nothing", "begin", "resolve", "drop", "request_cancel"]

TABLE: Final[Mapping[tuple[State, Input], tuple[State, Action]]] = MappingProxyType(
    {
        ("created", "recorded"): ("initiated", "nothing"),
        ("created", "try_cancel"): ("dropped", "drop"),
        ("created", "wait_cancel"): ("dropped", "drop"),
        ("created", "wait_request"): ("dropped", "drop"),
        ("created", "abandon"): ("dropped", "drop"),
        ("initiated", "started"): ("started", "begin"),
        ("initiated", "start_failed"): ("closed", "resolve"),
        ("initiated", "try_cancel"): ("unheard", "request_cancel"),
        ("initiated", "wait_cancel"): ("awaiting_cancel", "request_cancel"),
        ("initiated", "wait_request"): ("awaiting_request", "request_cancel"),
        ("initiated", "abandon"): ("unheard", "nothing"),
        ("started", "closed"): ("closed", "resolve"),
        ("started", "try_cancel"): ("unheard_started", "request_cancel"),
        ("started", "wait_cancel"): ("awaiting_cancel_started", "request_cancel"),
        ("started", "wait_request"): ("awaiting_request_started", "request_cancel"),
        ("started", "abandon"): ("unheard_started", "nothing"),
        ("awaiting_cancel", "started"): ("awaiting_cancel_started", "begin"),
        ("awaiting_cancel", "start_failed"): ("closed", "resolve"),
        ("awaiting_cancel", "cancel_requested"): ("awaiting_cancel", "nothing"),
        ("awaiting_cancel", "cancel_failed"): ("awaiting_cancel", "nothing"),
        ("awaiting_cancel", "wait_cancel"): ("awaiting_cancel", "nothing"),
        ("awaiting_cancel", "wait_request"): ("awaiting_cancel", "nothing"),
        ("awaiting_cancel_started", "closed"): ("closed", "resolve"),
        ("awaiting_cancel_started", "cancel_requested"): ("awaiting_cancel_started", "nothing"),
        ("awaiting_cancel_started", "cancel_failed"): ("awaiting_cancel_started", "nothing"),
        ("awaiting_cancel_started", "wait_cancel"): ("awaiting_cancel_started", "nothing"),
        ("awaiting_cancel_started", "wait_request"): ("awaiting_cancel_started", "nothing"),
        ("awaiting_request", "started"): ("awaiting_request_started", "begin"),
        ("awaiting_request", "start_failed"): ("closed", "resolve"),
        ("awaiting_request", "cancel_requested"): ("unheard", "resolve"),
        # It could not be asked because it is gone: its end is on the way, and says more.
        ("awaiting_request", "cancel_failed"): ("awaiting_cancel", "nothing"),
        ("awaiting_request", "wait_request"): ("awaiting_request", "nothing"),
        ("awaiting_request_started", "closed"): ("closed", "resolve"),
        ("awaiting_request_started", "cancel_requested"): ("unheard_started", "resolve"),
        ("awaiting_request_started", "cancel_failed"): ("awaiting_cancel_started", "nothing"),
        ("awaiting_request_started", "wait_request"): ("awaiting_request_started", "nothing"),
        ("unheard", "started"): ("unheard_started", "nothing"),
        ("unheard", "start_failed"): ("closed", "nothing"),
        ("unheard", "cancel_requested"): ("unheard", "nothing"),
        ("unheard", "cancel_failed"): ("unheard", "nothing"),
        ("unheard_started", "closed"): ("closed", "nothing"),
        ("unheard_started", "cancel_requested"): ("unheard_started", "nothing"),
        ("unheard_started", "cancel_failed"): ("unheard_started", "nothing"),
        # The child ended before the answer to the request came.
        ("closed", "cancel_requested"): ("closed", "nothing"),
        ("closed", "cancel_failed"): ("closed", "nothing"),
    }
)

CANCELS: Final[Mapping[CancellationType, Input]] = MappingProxyType(
    {
        "try_cancel": "try_cancel",
        "wait_cancellation_completed": "wait_cancel",
        "wait_cancellation_requested": "wait_request",
        "abandon": "abandon",
    }
)
"""What each cancellation type means to the machine."""

SETTLED: Final[frozenset[State]] = frozenset({"dropped", "unheard", "unheard_started"})
"""The states in which a cancelled child has nobody who waits for it."""


class ChildMachine(Machine[State, Input, Action]):
    """One child, by its workflow id."""

    __slots__ = ("namespace", "request", "run_id", "started_event_id", "workflow_type")

    family: ClassVar[str] = "child workflow"
    table: ClassVar[Mapping[tuple[State, Input], tuple[State, Action]]] = TABLE

    def __init__(self, name: str, workflow_type: str, namespace: str, waiter: object) -> None:
        super().__init__("created", name, waiter)
        self.workflow_type = workflow_type
        self.namespace = namespace
        self.request: CancelMachine | None = None
        """What asks it to stop."""
        self.run_id = ""
        self.started_event_id = 0
