"""The machine of one run: news go in and say who is to be told; workflow code asks, and commands come out.

Every command is kept until the event that it became is read: after the drive that replays it, or with the next task.
Commands and events must agree one for one, in order. After a closing command nothing more is issued but answers to
updates, and the patches that their handlers ask for: they leave before it, for a handler may end in the turn that
closes its workflow. What a command dropped before it left (a timer started and cancelled in one turn) never existed. It
must not know futures, loops or the workflow's code: a waiter is whatever the caller gave, and comes back as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from msgspec import Raw

from perdure_proto import commands as cmd
from perdure_proto import events as ev
from perdure_proto.commands import AnyCommand
from perdure_proto.events import AnyEvent
from perdure_proto.failures import Failure
from perdure_proto.options import CancellationType
from perdure_worker.replay.machines import activity, marker
from perdure_worker.replay.machines.activity import ActivityMachine
from perdure_worker.replay.machines.child import ChildMachine
from perdure_worker.replay.machines.external import CancelMachine, SignalMachine
from perdure_worker.replay.machines.marker import LocalActivityDetails, LocalActivityMachine, PatchMachine
from perdure_worker.replay.machines.table import IllegalTransitionError
from perdure_worker.replay.machines.timer import TimerMachine
from perdure_worker.replay.machines.update import UpdateMachine
from perdure_worker.replay.machines.upsert import UpsertMachine
from perdure_worker.replay.matching import BECOMES, CLOSING, UPDATE_ANSWERS, agree, may_be_ignored
from perdure_worker.replay.nondeterminism import MismatchError, Origin
from perdure_worker.replay.others import OtherMachine, Others

AnyMachine: TypeAlias = (
    ActivityMachine | TimerMachine | PatchMachine | LocalActivityMachine | UpdateMachine | UpsertMachine | OtherMachine
)


class Issued:
    """A command that workflow code gave, until its event is read."""

    __slots__ = ("command", "dropped", "machine", "origin")

    def __init__(self, command: AnyCommand, machine: AnyMachine | None, origin: Origin | None) -> None:
        self.command = command
        self.machine = machine
        self.origin = origin
        self.dropped = False


class Execution:
    """What one run has asked for, and where each of it stands."""

    def __init__(self) -> None:
        self.closed_by: AnyCommand | None = None
        """The command that closes the run; nothing is issued after it."""
        self.origin: Origin | None = None
        """The line that is about to issue a command; the driver sets it on replay."""
        self._issued: list[Issued] = []
        self._activities: dict[int, ActivityMachine] = {}
        self._timers: dict[int, TimerMachine] = {}
        self._local: dict[str, LocalActivityMachine] = {}
        self._activity_number = 0
        self._timer_number = 0
        self.others = Others(self)
        """Children, and what goes to other executions."""

    @property
    def closed(self) -> bool:
        """Whether the run has ended."""
        return self.closed_by is not None

    # What workflow code asks for.

    def next_activity_id(self) -> str:
        """Activities are numbered in the order in which they are asked for."""
        self._activity_number += 1
        return str(self._activity_number)

    def next_timer_id(self) -> str:
        """So are timers."""
        self._timer_number += 1
        return str(self._timer_number)

    def schedule_activity(self, command: cmd.ScheduleActivityTask, waiter: object) -> ActivityMachine:
        """An activity is to run."""
        machine = ActivityMachine(command.activity_id, command.activity_type, waiter)
        self.issue(command, machine)
        return machine

    def cancel_activity(self, machine: ActivityMachine, how: CancellationType) -> bool:
        """An activity is to stop. True when nobody is to wait for it any longer."""
        if self.closed:
            return True
        action = machine.step(activity.CANCELS[how])
        if action == "drop":
            self.drop(machine)
        elif action == "request_cancel":
            self.issue(cmd.RequestCancelActivityTask(scheduled_event_id=machine.scheduled_event_id), machine)
        return machine.state != "awaiting_cancel"

    def start_timer(self, command: cmd.StartTimer, waiter: object) -> TimerMachine:
        """A timer is to run."""
        machine = TimerMachine(command.timer_id, waiter)
        self.issue(command, machine)
        return machine

    def cancel_timer(self, machine: TimerMachine) -> None:
        """A timer that has not fired is to be forgotten."""
        if self.closed:
            return
        if machine.step("cancel") == "drop":
            self.drop(machine)
        else:
            self.issue(cmd.CancelTimer(timer_id=machine.name), machine)

    def patch(self, command: cmd.RecordMarker, patch_id: str) -> None:
        """Code behind a patch is to run."""
        self.issue(command, PatchMachine(patch_id))

    def upsert(self, command: cmd.UpsertWorkflowSearchAttributes | cmd.ModifyWorkflowProperties, what: str) -> None:
        """Memo or search attributes are to change."""
        self.issue(command, UpsertMachine(what))

    def run_local_activity(self, activity_id: str, activity_type: str, waiter: object) -> LocalActivityMachine:
        """A local activity is to run; nothing is issued before it ends."""
        if activity_id in self._local:
            raise IllegalTransitionError(f"local activity {activity_id!r} runs already")
        machine = LocalActivityMachine(activity_id, activity_type, waiter)
        self._local[activity_id] = machine
        return machine

    def cancel_local_activity(self, machine: LocalActivityMachine, how: CancellationType) -> tuple[bool, bool]:
        """A local activity is to stop. Whether nobody is to wait any longer, and whether it is to be interrupted."""
        stop = machine.step(marker.CANCELS[how]) == "stop"
        if machine.state != "canceled":
            return False, stop
        del self._local[machine.name]
        return True, stop

    def local_activity(self, activity_id: str) -> LocalActivityMachine | None:
        """The local activity of that id that has not ended."""
        return self._local.get(activity_id)

    def end_local_activity(self, details: LocalActivityDetails, raw: Raw, failure: Failure | None) -> object:
        """A local activity ended: its marker is issued. Who waited for it."""
        machine = self._local.pop(details.activity_id, None)
        if machine is None or machine.activity_type != details.activity_type:
            raise IllegalTransitionError(
                f"history has the result of local activity {details.activity_id!r} ({details.activity_type}), which "
                "the workflow's code did not start"
            )
        machine.step("ended")
        command = cmd.RecordMarker(marker_name=marker.LOCAL_ACTIVITY, details=raw, failure=failure)
        self.issue(command, machine)
        return machine.waiter

    def accept_update(self, machine: UpdateMachine) -> None:
        """The validator let an update pass."""
        machine.step("accept")
        self.issue(cmd.AcceptUpdate(update_id=machine.name), machine)

    def reject_update(self, machine: UpdateMachine, failure: Failure) -> None:
        """The validator refused an update, or nobody takes it."""
        machine.step("reject")
        self.issue(cmd.RejectUpdate(update_id=machine.name, failure=failure), machine)

    def complete_update(self, machine: UpdateMachine, command: cmd.CompleteUpdate) -> None:
        """The handler of an update ended."""
        machine.step("complete")
        self.issue(command, machine)

    def issue(self, command: AnyCommand, machine: AnyMachine | None = None) -> None:
        """Gives a command; none leaves after the one that closes the run."""
        if self.closed:
            if self._issued and (type(command) in UPDATE_ANSWERS or isinstance(machine, PatchMachine)):
                self._issued.insert(-1, Issued(command, machine, self.origin))
            return
        if machine is not None:
            machine.place = len(self._issued)
        self._issued.append(Issued(command, machine, self.origin))
        self.origin = None
        if type(command) in CLOSING:
            self.closed_by = command

    def drop(self, machine: AnyMachine) -> None:
        """Takes back the command that made it, which has not left."""
        self._issued[machine.place].dropped = True

    def withdraw(self, machine: AnyMachine) -> None:
        """Takes back the last command of what has ended, if it has not left: both came in one activation."""
        issued = self._issued[machine.place : machine.place + 1]
        if issued and issued[0].machine is machine:
            issued[0].dropped = True

    def forget_rejections(self) -> None:
        """The task that brought nothing but refused updates is not in history."""
        self._issued = []

    # What history says.

    def commands(self) -> list[AnyCommand]:
        """All that was issued and is not known to be recorded, in order."""
        return [issued.command for issued in self._issued if not issued.dropped]

    def fire(self, event: ev.TimerFired) -> TimerMachine | None:
        """The time of a timer came; None when it was cancelled just before, in the same activation."""
        timer = self._timers.pop(event.started_event_id, None)
        if timer is None:
            raise IllegalTransitionError(f"event {event.event_id} fires timer {event.timer_id!r}, which is unknown")
        if timer.step("fired") == "resolve":
            return timer
        self.withdraw(timer)
        return None

    def close_activity(self, event: AnyEvent) -> object:
        """An activity closed: who is to be told of it, or None."""
        scheduled: int = getattr(event, "scheduled_event_id", 0)
        machine = self._activities.pop(scheduled, None)
        if machine is None:
            raise IllegalTransitionError(f"event {event.event_id} closes activity {scheduled}, which is unknown")
        if self._issued:
            self.withdraw(machine)
        return machine.waiter if machine.step(activity.NEWS[type(event)]) == "resolve" else None

    def confirm(self, recorded: Iterable[AnyEvent], after: int) -> None:
        """What the commands became: they must agree with what was issued, one for one and in order.

        `after` is the id of the event before the first one that was to be recorded.
        """
        issued = iter([one for one in self._issued if not one.dropped and type(one.command) in BECOMES])
        self._issued = []
        given = next(issued, None)
        for event in recorded:
            after = event.event_id
            if given is not None and agree(given.command, event, given.machine.name if given.machine else ""):
                if given.machine is not None:
                    self._confirm(given.machine, event)
                given = next(issued, None)
            elif not may_be_ignored(event):
                raise MismatchError(event, *_parts(given), after)
        if given is not None:
            raise MismatchError(None, *_parts(given), after)

    def _confirm(self, machine: AnyMachine, event: AnyEvent) -> None:
        match event, machine:
            case ev.ActivityTaskScheduled(), ActivityMachine():
                machine.step("recorded")
                machine.scheduled_event_id = event.event_id
                self._activities[event.event_id] = machine
            case ev.ActivityTaskCancelRequested(), ActivityMachine():
                machine.step("cancel_recorded")
            case ev.TimerStarted(), TimerMachine():
                machine.step("recorded")
                machine.started_event_id = event.event_id
                self._timers[event.event_id] = machine
            case ev.TimerCanceled(), TimerMachine():
                machine.step("cancel_recorded")
                del self._timers[machine.started_event_id]
            case ev.WorkflowExecutionUpdateAccepted(), UpdateMachine():
                machine.step("accept_recorded")
            case ev.WorkflowExecutionUpdateCompleted(), UpdateMachine():
                machine.step("complete_recorded")
            case ((ev.UpsertWorkflowSearchAttributes() | ev.WorkflowPropertiesModified()), UpsertMachine()):
                machine.step("recorded")
            case ev.MarkerRecorded(), PatchMachine() | LocalActivityMachine():
                machine.step("recorded")
            case _, ChildMachine() | SignalMachine() | CancelMachine():
                self.others.confirm(machine, event.event_id)
            case _:
                raise IllegalTransitionError(f"{event.event_type} is not what a {machine.family} becomes")


def _parts(given: Issued | None) -> tuple[AnyCommand | None, Origin | None]:
    return (None, None) if given is None else (given.command, given.origin)
