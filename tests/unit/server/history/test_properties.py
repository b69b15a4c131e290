"""Whatever comes in whatever order, the core keeps its laws: random requests, good and stale, against one run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto.codec import encoder
from perdure_proto.failures import ApplicationFailure, Failure, ServerFailure
from perdure_proto.options import RetryPolicy
from perdure_proto.tasks import UpdateDelivery
from perdure_server.history import requests as req
from perdure_server.history.deadlines import deadlines_of
from perdure_server.history.evolve import EVENTS
from perdure_server.history.invariants import same_state, violations
from perdure_server.history.state import ExecutionState
from perdure_server.history.transitions.chain import first_events
from tests.runs import NEXT_RUN_ID, Run, started_event
from tests.transcripts.across import closings

SECOND = timedelta(seconds=1)
FAILURE = Failure(message="no", info=ApplicationFailure(type="No"))


STARTS: tuple[dict[str, Any], ...] = (
    {"retry_policy": RetryPolicy(maximum_attempts=3), "workflow_run_timeout": timedelta(hours=1)},
    {"cron_schedule": "@every 10s", "initiator": "CRON_SCHEDULE", "first_workflow_task_backoff": 10 * SECOND},
    {"first_workflow_task_backoff": 10 * SECOND, "retry_policy": RetryPolicy(initial_interval=5 * SECOND)},
)
"""How the run of a world began: at once, at a tick, after a delay."""


class World:
    """A run, and all the tokens that were ever handed out: a worker may come with any of them."""

    def __init__(self, seed: int = 0) -> None:
        self.run = Run(first_events(started_event(**STARTS[seed % len(STARTS)])))
        self.tasks: list[dict[str, Any]] = []
        self.attempts: list[dict[str, Any]] = []
        self.number = 0

    def next(self) -> str:
        self.number += 1
        return str(self.number)


Action = Callable[[World, int], req.Request | None]


def signal(world: World, pick: int) -> req.Request:
    return req.SignalExecution(signal_name="s", request_id=f"r{pick}")


def cancel(world: World, pick: int) -> req.Request:
    return req.CancelExecution(request_id=f"c{pick}")


def admit(world: World, pick: int) -> req.Request:
    return req.AdmitUpdate(delivery=UpdateDelivery(update_id=f"u{pick}", update_name="set"))


def withdraw(world: World, pick: int) -> req.Request:
    return req.WithdrawUpdate(update_id=f"u{pick}")


def take_task(world: World, pick: int) -> None:
    started = world.run.start_task(f"worker-{pick}")
    if started is not None:
        world.tasks.append(world.run.on_task(started))


def take_activity(world: World, pick: int) -> req.Request | None:
    pending = list(world.run.state.activities.values())
    if not pending:
        return None
    activity = pending[pick % len(pending)]
    token: dict[str, Any] = {
        "scheduled_event_id": activity.scheduled.event_id,
        "attempt": activity.attempt,
        "started_at": world.run.now,
        "stamp": activity.stamp,
    }
    world.attempts.append(token)
    return req.StartActivity(**token, session=f"worker-{pick}")


def on_attempt(kind: Callable[..., req.Request], **more: Any) -> Action:
    def act(world: World, pick: int) -> req.Request | None:
        return kind(**world.attempts[-1 - pick % len(world.attempts)], **more) if world.attempts else None

    return act


def on_task(kind: Callable[..., req.Request], **more: Any) -> Action:
    def act(world: World, pick: int) -> req.Request | None:
        return kind(**world.tasks[-1 - pick // 4 % len(world.tasks)], **more) if world.tasks else None

    return act


def on_child(world: World, pick: int) -> req.Request | None:
    """What may be heard of a child, in any order and more than once."""
    children = list(world.run.state.children)
    if not children:
        return None
    event_id = children[pick % len(children)]
    closed = closings()[world.number % 5]
    return (
        req.RecordChildStarted(initiated_event_id=event_id, run_id="child-run"),
        req.RecordChildStartFailed(initiated_event_id=event_id, cause="WORKFLOW_ALREADY_EXISTS"),
        req.RecordChildClosed(initiated_event_id=event_id, run_id="last", first_run_id="child-run", closed=closed),
    )[(0, 0, 1, 2, 2)[pick // 2]]


def on_message(world: World, pick: int) -> req.Request | None:
    messages = list(world.run.state.messages)
    cause = "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND" if pick % 2 else ""
    if not messages:
        return None
    return req.RecordMessageAnswered(initiated_event_id=messages[pick % len(messages)], run_id="other-run", cause=cause)


def keep_row(world: World, pick: int) -> None:
    for event_id, activity in world.run.state.activities.items():
        if activity.started_at is not None:
            world.run.keep(event_id)


def take_over(world: World, pick: int) -> req.Request:
    world.run.reload()
    return req.FlushBuffer()


def evict(world: World, pick: int) -> None:
    task = world.run.state.workflow_task
    if not (world.run.state.admitted or world.run.state.buffer or (task and task.started)):
        world.run.take_snapshot()


def wait(world: World, pick: int) -> None:
    """Time passes, and all deadlines that came are kept."""
    world.run.after(pick * 3)
    for deadline in list(deadlines_of(world.run.state)):
        if deadline.at <= world.run.now:
            world.run.ask(with_new_run(deadline.request))


def time_out_task(world: World, pick: int) -> req.Request | None:
    return req.TimeOutWorkflowTask(started_event_id=world.tasks[-1]["started_event_id"]) if world.tasks else None


def time_out(world: World, pick: int) -> req.Request | None:
    """The run takes too long; now and then somebody only thinks so."""
    if pick > 1 or world.number <= 5:
        return None
    world.run.after(3600 * (1 - pick))
    return req.TimeOutExecution(new_run_id=NEXT_RUN_ID)


def pause(world: World, pick: int) -> req.Request | None:
    return req.PauseExecution(request_id=f"p{world.number}") if pick < 2 else None


def unpause(world: World, pick: int) -> req.Request:
    return req.UnpauseExecution(request_id=f"q{world.number}{pick}")


def control(kind: Callable[..., req.Request], **more: Any) -> Action:
    """Something is done to one of the pending activities."""

    def act(world: World, pick: int) -> req.Request | None:
        pending = list(world.run.state.activities)
        return kind(scheduled_event_id=pending[pick % len(pending)], **more) if pending and pick < 5 else None

    return act


def go_back(world: World, pick: int) -> req.Request | None:
    """A copy that ends with the task that is due goes on in its place."""
    before, task = world.run, world.run.state.workflow_task
    if pick > 1 or task is None or task.kind != "logged" or before.state.is_paused:
        return None
    at = max(before.now, before.state.last_event_time)
    event_id = before.state.last_event_id + 1
    started = ev.WorkflowTaskStarted(event_id=event_id, event_time=at, scheduled_event_id=task.scheduled_event_id)
    world.run = Run([*before.events, started])
    world.run.now = before.now
    world.tasks, world.attempts = [], []
    update = ev.WorkflowExecutionUpdateAdmitted(event_id=0, event_time=at, update_id=f"v{event_id}", update_name="set")
    signalled = ev.WorkflowExecutionSignaled(event_id=0, event_time=at, signal_name="s", request_id=f"r{pick}")
    return req.ResetExecution(base_run_id="base", events=(update, signalled))


def with_new_run(request: req.Request) -> req.Request:
    return req.TimeOutExecution(new_run_id=NEXT_RUN_ID) if isinstance(request, req.TimeOutExecution) else request


def some_commands(world: World, pick: int) -> list[c.AnyCommand]:
    """What a worker may answer to the state as it is; not all of it is good."""
    state: ExecutionState = world.run.state
    timers = [*state.timers, *(event.timer_id for event in state.buffer if hasattr(event, "timer_id"))]
    update_ids = list(state.admitted)
    open_updates = [key for key, update in state.updates.items() if not update.completed_event_id]
    table: list[Callable[[], list[c.AnyCommand]]] = [
        list,
        lambda: [c.ScheduleActivityTask(activity_id=world.next(), activity_type="A", heartbeat_timeout=4 * SECOND)],
        lambda: [
            c.ScheduleActivityTask(
                activity_id=world.next(),
                activity_type="A",
                schedule_to_close_timeout=20 * SECOND,
                schedule_to_start_timeout=9 * SECOND,
                retry_policy=RetryPolicy(maximum_attempts=2),
            )
        ],
        lambda: [c.StartTimer(timer_id=world.next(), start_to_fire_timeout=pick * 5 * SECOND)],
        lambda: [c.CancelTimer(timer_id=timer_id) for timer_id in timers[:1]],
        lambda: [c.RequestCancelActivityTask(scheduled_event_id=each) for each in list(state.activities)[:2]],
        lambda: [
            c.StartChildWorkflowExecution(workflow_id=world.next(), workflow_type="A") for _ in range(1 + pick % 3)
        ],
        lambda: [
            c.SignalExternalWorkflowExecution(workflow_id="other", signal_name="s"),
            c.RequestCancelExternalWorkflowExecution(workflow_id="other"),
        ],
        lambda: [c.RecordMarker(marker_name="patch"), c.ModifyWorkflowProperties(upserted_memo={world.next(): pick})],
        lambda: [c.UpsertWorkflowSearchAttributes(search_attributes={str(pick): pick or None})],
        lambda: [c.AcceptUpdate(update_id=each) for each in update_ids],
        lambda: [c.RejectUpdate(update_id=each, failure=FAILURE) for each in update_ids],
        lambda: [c.CompleteUpdate(update_id=each) for each in open_updates],
    ]
    return table[pick % len(table)]()


def answer(world: World, pick: int) -> req.Request | None:
    commands = some_commands(world, pick)
    if pick % 3 == 0:
        commands = [*commands, *some_commands(world, pick + world.number)]
    return on_task(req.CompleteWorkflowTask, commands=commands, force_new_task=pick == 7)(world, 0)


def settle_updates(world: World, pick: int) -> req.Request | None:
    """An answer to the updates that were delivered, and nothing else."""
    commands: list[c.AnyCommand] = []
    for update_id in world.run.state.admitted:
        reject = c.RejectUpdate(update_id=update_id, failure=FAILURE)
        commands.append(reject if pick % 2 else c.AcceptUpdate(update_id=update_id))
    return on_task(req.CompleteWorkflowTask, commands=commands)(world, 0)


def close(world: World, pick: int) -> req.Request | None:
    if world.number < 8:
        return None  # not before something has happened
    closing: list[c.AnyCommand] = [
        c.CompleteWorkflowExecution(),
        c.FailWorkflowExecution(failure=FAILURE),
        c.CancelWorkflowExecution(),
        c.ContinueAsNewWorkflowExecution(),
    ]
    commands = [*(some_commands(world, pick) if pick < 4 else ()), closing[pick % 4]]
    return on_task(req.CompleteWorkflowTask, commands=commands, new_run_id=NEXT_RUN_ID)(world, 0)


LOST = Failure(message="gone", info=ServerFailure(code="WORKER_LOST"))
ACTIONS: tuple[Action, ...] = (
    signal,
    cancel,
    admit,
    withdraw,
    take_task,
    take_task,
    take_task,
    answer,
    answer,
    answer,
    answer,
    close,
    settle_updates,
    settle_updates,
    take_activity,
    take_activity,
    on_attempt(req.CompleteActivity),
    on_attempt(req.FailActivity, failure=FAILURE),
    on_attempt(req.FailActivity, failure=LOST),
    on_attempt(req.AcknowledgeCancel),
    on_attempt(req.DetachActivity),
    on_attempt(req.HeartbeatActivity),
    on_attempt(req.BeginTransaction),
    on_attempt(req.CompleteActivity, recorded=True),
    on_attempt(req.ReturnActivity),
    on_task(req.FailWorkflowTask, cause="WORKFLOW_WORKER_UNHANDLED_FAILURE", failure=FAILURE),
    on_task(req.ReturnWorkflowTask),
    on_task(req.ReclaimWorkflowTask, session="worker-9"),
    lambda world, pick: req.RetryWorkflowTask(forgive=pick == 1),
    time_out_task,
    keep_row,
    on_child,
    on_child,
    on_child,
    on_message,
    on_message,
    take_over,
    evict,
    wait,
    wait,
    lambda world, pick: req.TerminateExecution() if pick < 2 and world.number > 5 else None,
    time_out,
    pause,
    unpause,
    unpause,
    go_back,
    control(req.PauseActivity),
    control(req.UnpauseActivity, reset_attempts=True),
    control(req.UnpauseActivity, delay=3 * SECOND, reset_heartbeat=True),
    control(req.ResetActivity, keep_paused=True),
    control(req.ResetActivity, reset_heartbeat=True, restore_options=True),
    control(req.UpdateActivityOptions, changes={"start_to_close_timeout": 7 * SECOND}),
    control(req.UpdateActivityOptions, restore_original=True),
    close,
)


def perform(world: World, action: Action, pick: int) -> None:
    request = action(world, pick)
    if request is not None:
        world.run.ask(request)


def plan_of(seed: int, length: int) -> Iterator[tuple[Action, int, int]]:
    """A long plan from a small number: lists drawn one by one stay too short to come anywhere."""
    chance = random.Random(seed)
    for _ in range(length):
        yield chance.choice(ACTIONS), chance.randrange(10), chance.choice((0, 0, 0, 1, 2))


seeds = st.integers(0, 2**32)
lengths = st.integers(1, 150)


@settings(deadline=None, max_examples=150)
@given(seeds, lengths)
def test_every_history_keeps_the_laws(seed: int, length: int) -> None:
    """No sequence of requests writes a history that breaks a law."""
    world = World(seed)
    for action, pick, seconds in plan_of(seed, length):
        world.run.after(seconds)
        perform(world, action, pick)
    assert [] == violations(world.run.events)


@settings(deadline=None, max_examples=100)
@given(seeds, lengths)
def test_the_rebuilt_state_is_the_live_state(seed: int, length: int) -> None:
    """At every point a new owner that reads log and rows knows what the old one knew."""
    world = World(seed)
    for action, pick, seconds in plan_of(seed, length):
        world.run.after(seconds)
        perform(world, action, pick)
        assert [] == same_state(world.run.state, world.run.rebuilt().state), action


@settings(deadline=None, max_examples=60)
@given(seeds, lengths)
def test_a_snapshot_round_trips(seed: int, length: int) -> None:
    """A state that is encoded and decoded is the same state."""
    world = World(seed)
    for action, pick, seconds in plan_of(seed, length):
        world.run.after(seconds)
        perform(world, action, pick)
    decoded = msgspec.json.decode(encoder.encode(world.run.state), type=ExecutionState)
    assert encoder.encode(world.run.state) == encoder.encode(decoded)


def test_the_plans_come_far() -> None:
    """The plans reach every kind of event that the core writes."""
    unseen = {kind.__name__ for kind in EVENTS}
    for seed in range(1000):
        world = World(seed)
        for action, pick, seconds in plan_of(seed, 150):
            world.run.after(seconds)
            perform(world, action, pick)
        unseen.difference_update(event.event_type for event in world.run.events)
        if not unseen:
            break
    assert set() == unseen
