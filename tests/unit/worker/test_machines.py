"""The tables of the replay machines: every entry is walked, and what is not an entry is refused by name."""

from collections.abc import Mapping
from typing import Any, get_args

import pytest

from perdure_proto import commands as cmd
from perdure_proto import events as ev
from perdure_proto.events import CLOSING_EVENTS, EVENT_TYPES
from perdure_proto.options import CancellationType
from perdure_worker.replay.activation import COMMAND_EVENTS, SILENT_EVENTS
from perdure_worker.replay.machines import activity, child, external, marker, timer, update, upsert
from perdure_worker.replay.machines.activity import ActivityMachine
from perdure_worker.replay.machines.child import ChildMachine
from perdure_worker.replay.machines.external import CancelMachine, SignalMachine
from perdure_worker.replay.machines.marker import LocalActivityMachine, PatchMachine
from perdure_worker.replay.machines.table import IllegalTransitionError, Machine
from perdure_worker.replay.machines.timer import TimerMachine
from perdure_worker.replay.machines.update import UpdateMachine
from perdure_worker.replay.machines.upsert import UpsertMachine
from perdure_worker.replay.matching import BECOMES, CLOSING

AnyMachine = Machine[Any, Any, Any]
Table = Mapping[tuple[Any, Any], tuple[Any, Any]]

MACHINES: list[tuple[AnyMachine, Table]] = [
    (ActivityMachine("1", "greet", None), activity.TABLE),
    (TimerMachine("1", None), timer.TABLE),
    (PatchMachine("p"), marker.PATCH_TABLE),
    (LocalActivityMachine("1", "greet", None), marker.TABLE),
    (UpdateMachine("u"), update.TABLE),
    (ChildMachine("c", "ship", "", None), child.TABLE),
    (SignalMachine("w", None), external.SIGNAL_TABLE),
    (CancelMachine("w", None), external.CANCEL_TABLE),
    (UpsertMachine("memo"), upsert.TABLE),
]
ENTRIES = [
    pytest.param(machine, table, *entry, id=f"{machine.family}-{entry[0]}-{entry[1]}")
    for machine, table in MACHINES
    for entry in table
]
FIRST = {machine.family: machine.state for machine, _ in MACHINES}


@pytest.mark.parametrize(("machine", "table", "state", "given"), ENTRIES)
def test_every_entry_of_a_table_moves_and_acts(machine: AnyMachine, table: Table, state: str, given: str) -> None:
    """Each entry leads to its state and gives its action."""
    machine.state = state
    action = machine.step(given)
    assert table[state, given] == (machine.state, action)


@pytest.mark.parametrize(("machine", "table"), MACHINES, ids=lambda one: getattr(one, "family", ""))
def test_every_state_of_a_table_can_be_reached(machine: AnyMachine, table: Table) -> None:
    """From the first state of a machine its table leads to every state it names."""
    reached = {FIRST[machine.family]}
    for _ in table:
        reached |= {after for (before, _), (after, _) in table.items() if before in reached}
    assert {state for state, _ in table} | {state for state, _ in table.values()} == reached


@pytest.mark.parametrize(("machine", "table"), MACHINES, ids=lambda one: getattr(one, "family", ""))
def test_what_is_not_in_the_table_is_refused_by_name(machine: AnyMachine, table: Table) -> None:
    """An input that a state does not know is an error that names both."""
    inputs = {given for _, given in table}
    states = {state for state, _ in table} | {state for state, _ in table.values()}
    for state, given in {(state, given) for state in states for given in inputs} - set(table):
        machine.state = state
        with pytest.raises(IllegalTransitionError, match=f"is {state}: {given} cannot happen to it"):
            machine.step(given)


def test_a_child_whose_end_nobody_waits_for_is_settled() -> None:
    """A cancelled child is settled where no later entry of its table resolves anything."""
    for state in child.SETTLED:
        actions = {action for (before, _), (_, action) in child.TABLE.items() if before == state}
        assert actions <= {"nothing"}


def test_every_cancellation_type_is_known_to_both_families() -> None:
    """Each type that the options name has an input in the tables of activities and children."""
    assert set(get_args(CancellationType)) == set(child.CANCELS) == set(activity.CANCELS)


def test_every_command_becomes_an_event_or_is_a_rejection() -> None:
    """No command is forgotten by the matching."""
    commands = {kind for kind in vars(cmd).values() if isinstance(kind, type) and issubclass(kind, cmd.Command)}
    assert commands - {cmd.Command, cmd.RejectUpdate} == set(BECOMES)


def test_every_event_of_a_command_is_known_to_the_reader() -> None:
    """The reader and the matching agree on which events commands become."""
    assert {event for event, _ in BECOMES.values()} == COMMAND_EVENTS


def test_a_closing_command_becomes_a_closing_event() -> None:
    """What closes a run as a command closes it as an event."""
    assert {BECOMES[command][0] for command in CLOSING} == set(CLOSING_EVENTS) - {
        ev.WorkflowExecutionTerminated,
        ev.WorkflowExecutionTimedOut,
    }


def test_no_event_is_both_of_a_command_and_silent() -> None:
    """The kinds of events do not overlap, and all are event types."""
    assert set() == COMMAND_EVENTS & SILENT_EVENTS
    assert COMMAND_EVENTS | SILENT_EVENTS <= set(EVENT_TYPES.values())
