"""Which event each command becomes, and by which fields the two are known to belong together.

Only what identifies a command is compared: options may change while a workflow runs, as with Temporal. It must not
know machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from perdure_proto import commands as cmd
from perdure_proto import events as ev
from perdure_proto.commands import AnyCommand, Command
from perdure_proto.events import AnyEvent, Event
from perdure_worker.replay.machines.marker import LOCAL_ACTIVITY, PATCH, local_activity_details, patch_details

BECOMES: Final[Mapping[type[Command], tuple[type[Event], tuple[str, ...]]]] = MappingProxyType(
    {
        cmd.ScheduleActivityTask: (ev.ActivityTaskScheduled, ("activity_id", "activity_type")),
        cmd.RequestCancelActivityTask: (ev.ActivityTaskCancelRequested, ("scheduled_event_id",)),
        cmd.StartTimer: (ev.TimerStarted, ("timer_id",)),
        cmd.CancelTimer: (ev.TimerCanceled, ("timer_id",)),
        cmd.CompleteWorkflowExecution: (ev.WorkflowExecutionCompleted, ()),
        cmd.FailWorkflowExecution: (ev.WorkflowExecutionFailed, ()),
        cmd.CancelWorkflowExecution: (ev.WorkflowExecutionCanceled, ()),
        cmd.ContinueAsNewWorkflowExecution: (ev.WorkflowExecutionContinuedAsNew, ()),
        cmd.StartChildWorkflowExecution: (
            ev.StartChildWorkflowExecutionInitiated,
            ("workflow_id", "workflow_type"),
        ),
        cmd.SignalExternalWorkflowExecution: (
            ev.SignalExternalWorkflowExecutionInitiated,
            ("workflow_id", "signal_name"),
        ),
        cmd.RequestCancelExternalWorkflowExecution: (
            ev.RequestCancelExternalWorkflowExecutionInitiated,
            ("workflow_id",),
        ),
        cmd.RecordMarker: (ev.MarkerRecorded, ("marker_name",)),
        cmd.UpsertWorkflowSearchAttributes: (ev.UpsertWorkflowSearchAttributes, ()),
        cmd.ModifyWorkflowProperties: (ev.WorkflowPropertiesModified, ()),
        cmd.AcceptUpdate: (ev.WorkflowExecutionUpdateAccepted, ("update_id",)),
        cmd.CompleteUpdate: (ev.WorkflowExecutionUpdateCompleted, ("update_id",)),
    }
)
"""Every command that leaves an event; a rejected update leaves none."""

CLOSING: Final[frozenset[type[Command]]] = frozenset(
    {
        cmd.CompleteWorkflowExecution,
        cmd.FailWorkflowExecution,
        cmd.CancelWorkflowExecution,
        cmd.ContinueAsNewWorkflowExecution,
    }
)
"""The commands that end a run; what is issued after one is dropped, but for answers to updates."""

UPDATE_ANSWERS: Final[frozenset[type[Command]]] = frozenset({cmd.AcceptUpdate, cmd.RejectUpdate, cmd.CompleteUpdate})
"""The commands that answer updates: also those of the turn that closes the run."""


def agree(command: AnyCommand, event: AnyEvent, name: str) -> bool:
    """Whether the event is what this command became; `name` is that of the command's machine."""
    kind, fields = BECOMES[type(command)]
    if type(event) is not kind:
        return False
    for field in fields:
        if getattr(command, field) != getattr(event, field):
            return False
    return not isinstance(event, ev.MarkerRecorded) or marker_id(event) == name


def marker_id(marker: ev.MarkerRecorded) -> str:
    """What a marker is about: the id of a patch or of a local activity."""
    if marker.marker_name == PATCH:
        return patch_details(marker).patch_id
    if marker.marker_name == LOCAL_ACTIVITY:
        return local_activity_details(marker).activity_id
    return ""


def may_be_ignored(event: AnyEvent) -> bool:
    """Whether code need not repeat it: a patch that was deprecated, and whose call is gone by now."""
    return isinstance(event, ev.MarkerRecorded) and event.marker_name == PATCH and patch_details(event).deprecated
