"""Invariant 7 on many histories: whatever arrived in whatever order, a replay gives the same commands."""

import asyncio
import contextlib
import random
from typing import Any, get_args

import pytest

from perdure import activity, workflow
from perdure.exceptions import ApplicationError, ChildWorkflowError, WorkflowAlreadyStartedError
from perdure_proto import commands as cmd
from perdure_proto import events as ev
from tests.replay import others
from tests.replay.service import Service, update

TURNS = 25
SEEDS = range(60)


@activity.defn
async def work(value: str) -> str:
    return value


@workflow.defn
async def other(value: str) -> str:
    return value


class Diary:
    """What one run of `busy` has seen."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.notes: list[str] = []
        self.running: set[asyncio.Task[None]] = set()
        self.stopped = False

    def spawn(self, label: str) -> None:
        task = asyncio.create_task(self.step(label))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def step(self, label: str) -> None:
        """Does one thing, chosen by the workflow's chance."""
        does = self.chance.choice([activity_, timer, local, timeout, cancel, wait, patch, abandon, child, tell])
        self.notes.append(f"{label} {does.__name__}")
        await does(self, label)


async def activity_(diary: Diary, label: str) -> None:
    diary.notes.append(await work(label))


async def timer(diary: Diary, _: str) -> None:
    await asyncio.sleep(diary.chance.randint(1, 30))  # virtual time


async def local(_: Diary, label: str) -> None:
    await work.local(label)


async def timeout(diary: Diary, label: str) -> None:
    try:
        async with asyncio.timeout(diary.chance.randint(1, 20)):
            await work.with_options(cancellation_type=diary.chance.choice(["try_cancel", "abandon"]))(label)
    except TimeoutError:
        diary.notes.append("too slow")


async def cancel(diary: Diary, label: str) -> None:
    handle = work.with_options(cancellation_type="wait_cancellation_completed").start(label)
    await asyncio.sleep(diary.chance.randint(0, 3))  # virtual time
    handle.cancel()
    await asyncio.wait([handle])


async def abandon(diary: Diary, label: str) -> None:
    task = asyncio.create_task(work.local(label))
    await asyncio.sleep(diary.chance.randint(0, 2))  # virtual time
    task.cancel()


async def child(diary: Diary, label: str) -> None:
    how = diary.chance.choice(get_args(workflow.ChildWorkflowCancellationType))
    step = other.with_options(cancellation_type=how)
    try:
        async with asyncio.timeout(diary.chance.randint(1, 20)):
            diary.notes.append(await step(label) if diary.chance.random() < 0.5 else await (await step.start(label)))
    except (TimeoutError, ChildWorkflowError, WorkflowAlreadyStartedError) as error:
        diary.notes.append(type(error).__name__)


async def tell(diary: Diary, label: str) -> None:
    there = workflow.external("there")
    try:
        async with asyncio.timeout(diary.chance.randint(1, 20)):
            await (there.signal("more", label) if diary.chance.random() < 0.5 else there.cancel())
    except (TimeoutError, ApplicationError) as error:
        diary.notes.append(type(error).__name__)


async def wait(diary: Diary, _: str) -> None:
    before = len(diary.notes)
    await workflow.wait_condition(lambda: len(diary.notes) > before or diary.stopped)


async def patch(diary: Diary, _: str) -> None:
    diary.notes.append(str(workflow.patched(f"p{diary.chance.randint(0, 3)}")))


@workflow.defn
async def busy(seed: int) -> list[str]:
    """Does a bit of everything, as its own chance, its signals and its updates tell it."""
    diary = Diary(workflow.random())
    channel = workflow.signal_channel("items", int)

    @workflow.signal
    async def more(label: str) -> None:
        diary.spawn(label)
        await asyncio.sleep(0)
        diary.notes.append(f"after {label}")

    @workflow.update
    async def change(label: str) -> str:
        diary.notes.append(label)
        await diary.step(label)
        return label

    @change.validator
    def _check(label: str) -> None:
        if label.endswith(("3", "7")):
            raise ValueError(label)

    @workflow.signal
    def stop() -> None:
        diary.stopped = True

    for number in range(3):
        diary.spawn(f"body {number}")
    while not diary.stopped:
        try:
            diary.notes.append(str(await channel.receive(timeout=diary.chance.randint(1, 10))))
        except TimeoutError:
            for task in diary.running:
                if diary.chance.random() < 0.2:
                    task.cancel()
    return diary.notes


class Chaos:
    """Plays the service by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.service = Service(busy, seed)
        self.local: list[str] = []

    def news(self) -> None:
        """Some of what could arrive does."""
        for _ in range(self.chance.randint(0, 4)):
            action = self.chance.choice(
                [self._signal, self._item, self._timer, self._activity, self._child, self._answer]
            )
            action()

    def _signal(self) -> None:
        self.service.signal("more", f"s{len(self.service.events)}")

    def _item(self) -> None:
        self.service.signal("items", self.chance.choice([1, 2, "not an int"]))

    def _timer(self) -> None:
        closed = {e.timer_id for e in (*self.service.of(ev.TimerFired), *self.service.of(ev.TimerCanceled))}
        open_timers = [e.timer_id for e in self.service.of(ev.TimerStarted) if e.timer_id not in closed]
        if open_timers:
            self.service.fire_timer(int(self.chance.choice(open_timers)))

    def _activity(self) -> None:
        kinds = (ev.ActivityTaskCompleted, ev.ActivityTaskFailed, ev.ActivityTaskCanceled)
        closed = {e.scheduled_event_id for kind in kinds for e in self.service.of(kind)}
        pending = [e for e in self.service.of(ev.ActivityTaskScheduled) if e.event_id not in closed]
        if not pending:
            return
        scheduled = self.chance.choice(pending)
        asked = {e.scheduled_event_id for e in self.service.of(ev.ActivityTaskCancelRequested)}
        if scheduled.event_id in asked and self.chance.random() < 0.5:
            self.service.canceled(scheduled.activity_id)
        else:
            self.service.complete(scheduled.activity_id, "done")

    def _child(self) -> None:
        heard = {getattr(e, "initiated_event_id", 0): type(e) for e in self.service.events}
        initiated = self.service.of(ev.StartChildWorkflowExecutionInitiated)
        fresh = [e.workflow_id for e in initiated if e.event_id not in heard]
        running = [e.workflow_id for e in initiated if heard.get(e.event_id) is ev.ChildWorkflowExecutionStarted]
        if running and self.chance.random() < 0.5:
            end = self.chance.choice([others.cancel, others.fail, others.terminate, others.time_out])
            workflow_id = self.chance.choice(running)
            if self.chance.random() < 0.5:
                others.complete(self.service, workflow_id, "grown")
            else:
                end(self.service, workflow_id)
        elif fresh:
            begin = others.start if self.chance.random() < 0.8 else others.refuse
            begin(self.service, self.chance.choice(fresh))

    def _answer(self) -> None:
        """Answers what was sent first, of one kind."""
        answers = [others.signaled, others.signal_failed, others.cancel_requested, others.cancel_failed]
        with contextlib.suppress(StopIteration):
            self.chance.choice(answers)(self.service)

    def turn(self) -> list[cmd.AnyCommand]:
        """One task, with updates, and with some of the local activities ending in it."""
        service = self.service
        count = self.chance.choice([0, 0, 0, 1, 2])
        updates = [
            update(f"u{len(service.events)}-{n}", "change", f"u{self.chance.randint(0, 9)}") for n in range(count)
        ]
        task = service.task(updates)
        assert service.instance.fits(task)
        service.outcome = service.instance.activate(task)
        self._take_local()
        while self.local and service.outcome.error is None and self.chance.random() < 0.6:
            self.chance.shuffle(self.local)
            service.end_local(self.local.pop(), "here")
            self._take_local()
        commands = service.finish(task)
        service.instance.end_turn()
        if self.local and self.chance.random() < 0.2:
            service.end_local(self.local.pop(), "between")
        return commands

    def _take_local(self) -> None:
        outcome = self.service.outcome
        assert outcome is not None
        self.local += [one.activity_id for one in outcome.local_activities if one.activity_id not in self.local]

    def evict(self) -> None:
        self.local.clear()
        self.service.evict()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replay_gives_the_same_commands(seed: int) -> None:
    """Cached, evicted and replayed alike."""
    chaos = Chaos(seed)
    for _ in range(TURNS):
        commands: list[Any] = chaos.turn()
        assert commands is not None
        chaos.service.check()
        if chaos.chance.random() < 0.15:
            chaos.evict()
        chaos.news()
    chaos.service.signal("stop")
    chaos.service.signal("items", 1)
    chaos.turn()
    chaos.service.check()
