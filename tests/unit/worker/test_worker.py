"""The worker's life: registration, options, graceful shutdown, and refusal by the service."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any, cast

import pytest

from perdure import activity, workflow
from perdure._service import Service as ClientService
from perdure.client import Client
from perdure.converter import DataConverter
from perdure.exceptions import NondeterminismError, RPCError
from perdure_proto.errors import Code, ServiceError
from perdure_proto.failures import ServerFailure
from perdure_proto.options import RetryPolicy
from perdure_proto.tasks import ActivityTaskCompletion, ActivityTaskFailure, CancelActivity, TaskReturned
from perdure_worker.registry import RegistrationError
from perdure_worker.worker import Worker
from tests.programs.in_processes import Press
from tests.unit.worker import wall_clock
from tests.unit.worker.service import serve
from tests.unit.worker.wired import activity_task, connected
from tests.unit.worker.workers import serving

NOWHERE = "http://127.0.0.1:9"


@workflow.defn
async def hello() -> None: ...


@workflow.defn(name="hello")
async def hello_again() -> None: ...


@activity.defn
async def wait() -> None:
    await asyncio.Event().wait()


class Bank:
    """An activity that is a method."""

    def __init__(self, name: str) -> None:
        self.name = name

    @activity.defn
    async def charge(self) -> str:
        return self.name


async def made(**options: Any) -> Worker:
    async with connected(NOWHERE) as connection:
        client = Client(ClientService(connection, "default", identity="test", converter=DataConverter()))
        return Worker(client, **options)


async def test_two_definitions_of_one_name_are_refused() -> None:
    """The error names the name and both places."""
    with pytest.raises(RegistrationError, match=r"workflow named 'hello'.*hello .*hello_again"):
        await made(workflows=[hello, hello_again])


async def test_what_is_no_definition_is_refused() -> None:
    """A plain function is not a workflow."""
    with pytest.raises(RegistrationError, match=r"@workflow\.defn"):
        await made(workflows=[test_what_is_no_definition_is_refused])


async def test_worker_without_anything_to_run_is_refused() -> None:
    """A worker needs something to do."""
    with pytest.raises(RegistrationError, match="at least one"):
        await made()


async def test_unbound_method_is_refused() -> None:
    """An activity that is a method is registered on an instance."""
    with pytest.raises(RegistrationError, match="on an instance"):
        await made(activities=[Bank.charge])


async def test_clock_in_a_workflow_is_refused() -> None:
    """What cannot be patched is found when the workflow is registered."""
    with pytest.raises(NondeterminismError, match=r"datetime\.now"):
        await made(workflows=[wall_clock.tell])


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"max_concurrent_activities": 0}, ValueError),
        ({"max_cached_workflows": "many"}, TypeError),
        ({"max_worker_activities_per_second": 0}, ValueError),
        ({"graceful_shutdown_timeout": 3}, TypeError),
        ({"task_queue": ""}, ValueError),
        ({"max_task_queue_activities_per_second": -1.0}, ValueError),
        ({"interceptors": [object()]}, TypeError),
    ],
)
async def test_option_that_is_not_valid_is_named(option: dict[str, Any], error: type[Exception]) -> None:
    """A wrong option is refused by its name."""
    with pytest.raises(error, match=next(iter(option))):
        await made(workflows=[hello], **option)


async def test_what_a_process_cannot_find_is_refused() -> None:
    """An activity in a function, or one bound to what cannot be pickled, says so at registration."""

    @activity.defn(executor="process")
    def crunch() -> None: ...

    for wrong, words in ((crunch, "top of a module"), (Press(cast(int, threading.Lock())).press, "cannot be pickled")):
        with pytest.raises(RegistrationError, match=words):
            await made(activities=[wrong])


async def test_build_id_follows_the_source() -> None:
    """The same workflows give the same build id, others another."""
    one, again, other = [await made(workflows=workflows) for workflows in ([hello], [hello], [hello_again])]
    assert one.build_id == again.build_id != other.build_id


async def test_method_runs_on_its_instance() -> None:
    """A method registered on an instance runs on that instance."""
    async with serving(activities=[Bank("Oslo").charge]) as one:
        await one.give(activity_task("a", activity_type="charge"))
        completion = await one.next_completion()
        assert isinstance(completion, ActivityTaskCompletion)
        assert b'"Oslo"' == bytes(completion.result)


async def test_worker_leaves_when_it_stops() -> None:
    """The service learns that the session is over."""
    async with serving(activities=[wait]) as one:
        await one.worker.shutdown()
        assert 1 == len(one.service.left)


async def test_running_activity_may_end_within_the_timeout() -> None:
    """A stopping worker waits for what runs, and hands it in before it leaves."""
    started, go_on = asyncio.Event(), asyncio.Event()

    @activity.defn
    async def work() -> int:
        started.set()
        await go_on.wait()
        return 7

    async with serving(activities=[work], graceful_shutdown_timeout=timedelta(seconds=5)) as one:
        await one.give(activity_task("a", activity_type="work"))
        await started.wait()
        stopping = asyncio.create_task(one.worker.shutdown())
        one.poll = await one.service.polls.get()
        assert (0, 0) == (one.poll.request.workflow_slots, one.poll.request.activity_slots)
        go_on.set()
        assert isinstance(await one.next_completion(), ActivityTaskCompletion)
        await stopping
        assert 1 == len(one.service.left)


async def test_running_activity_is_handed_back_after_the_timeout() -> None:
    """What still runs then is cancelled, and its attempt goes to another worker without being counted."""
    async with serving(activities=[wait]) as one:
        await one.give(activity_task("a", activity_type="wait"))
        stopping = asyncio.create_task(one.worker.shutdown())
        assert isinstance(await one.next_completion(), TaskReturned)
        await stopping


async def test_last_attempt_fails_after_the_timeout() -> None:
    """An attempt that is the last allowed and has begun is not run again: it fails."""
    async with serving(activities=[wait]) as one:
        once = RetryPolicy(maximum_attempts=1)
        await one.give(activity_task("a", activity_type="wait", retry_policy=once))
        stopping = asyncio.create_task(one.worker.shutdown())
        completion = await one.next_completion()
        assert isinstance(completion, ActivityTaskFailure)
        assert ServerFailure(code=Code.WORKER_LOST) == completion.failure.info
        await stopping


async def test_thread_that_does_not_end_is_reported_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ignores its cancellation does not hold up the worker."""
    monkeypatch.setattr("perdure_worker.activities.CANCELLED_GRACE", 0.0)
    started, go_on = threading.Event(), threading.Event()

    @activity.defn
    def stubborn() -> None:
        started.set()
        go_on.wait()

    async with serving(activities=[stubborn]) as one:
        await one.give(activity_task("a", activity_type="stubborn"))
        await asyncio.to_thread(started.wait)
        stopping = asyncio.create_task(one.worker.shutdown())
        assert isinstance(await one.next_completion(), ActivityTaskFailure)
        await stopping
        go_on.set()


async def test_task_that_arrives_while_it_stops_goes_back() -> None:
    """A stopping worker takes nothing new."""
    go_on = asyncio.Event()

    @activity.defn
    async def work() -> None:
        await go_on.wait()

    async with serving(activities=[work], graceful_shutdown_timeout=timedelta(seconds=5)) as one:
        await one.give(activity_task("a", activity_type="work"))
        stopping = asyncio.create_task(one.worker.shutdown())
        one.poll.answer(activity_task("b", activity_type="work"))
        assert TaskReturned(token="b") == await one.next_completion()
        go_on.set()
        await one.next_completion()
        await stopping


async def test_pushes_still_come_while_it_stops() -> None:
    """A cancellation reaches an activity that a stopping worker lets go on."""
    started = asyncio.Event()

    @activity.defn
    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    async with serving(activities=[work], graceful_shutdown_timeout=timedelta(seconds=5)) as one:
        await one.give(activity_task("a", activity_type="work"))
        await started.wait()
        stopping = asyncio.create_task(one.worker.shutdown())
        one.poll.answer(pushes=(CancelActivity(token="a"),))
        assert "a" == (await one.next_completion()).token
        await stopping


async def test_refused_worker_raises_the_reason_from_run() -> None:
    """A service that will never take the worker ends it with the reason."""
    async with serve() as service, connected(service.address) as connection:
        client = Client(ClientService(connection, "default", identity="test", converter=DataConverter()))
        running = asyncio.create_task(Worker(client, activities=[wait]).run())
        (await service.polls.get()).refuse(ServiceError(Code.NAMESPACE_NOT_FOUND, "no such namespace"))
        with pytest.raises(RPCError, match="no such namespace"):
            await running


async def test_refused_worker_interrupts_its_block() -> None:
    """Who waits within `async with` is not left waiting for ever."""
    async with serve() as service, connected(service.address) as connection:
        client = Client(ClientService(connection, "default", identity="test", converter=DataConverter()))

        async def block() -> None:
            async with Worker(client, activities=[wait]):
                await asyncio.Event().wait()

        running = asyncio.create_task(block())
        (await service.polls.get()).refuse(ServiceError(Code.NAMESPACE_NOT_FOUND, "no such namespace"))
        with pytest.raises(RPCError, match="no such namespace"):
            await running


async def test_cancelled_run_stops_gracefully() -> None:
    """Cancelling `run` drains the worker."""
    async with serve() as service, connected(service.address) as connection:
        client = Client(ClientService(connection, "default", identity="test", converter=DataConverter()))
        running = asyncio.create_task(Worker(client, activities=[wait]).run())
        (await service.polls.get()).answer()
        await service.polls.get()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert 1 == len(service.left)
