"""Signals and cancel requests to other workflows: sent by the call, answered by events."""

import asyncio
from typing import Any

import pytest

from perdure import workflow
from perdure.exceptions import ApplicationError, ConversionError, NondeterminismError
from perdure_proto import commands as cmd
from perdure_proto import events as ev
from perdure_worker.replayer import Replayer
from tests.replay import others
from tests.replay.service import Service, names

paid = workflow.Signal[int]("paid")
stop = workflow.Signal[None]("stop")


@workflow.defn
async def sends() -> str:
    other = workflow.external("o", run_id="r", namespace="n")
    await other.signal(paid, 3)
    await other.signal(paid(4))
    await other.signal("plain", 1, "two")
    return other.id


@workflow.defn
async def asks(reason: str) -> str:
    try:
        await workflow.external("o").cancel(reason)
    except ApplicationError as error:
        return f"{error.type}: {error.message}"
    return "asked"


@workflow.defn
async def tells() -> str:
    try:
        await workflow.external("o").signal(paid, 3)
    except ApplicationError as error:
        return f"{error.type}: {error.message}"
    return "told"


@workflow.defn
async def gives_up(what: str, at_once: bool) -> str:
    """Cancels the wait for what it sent, and says what the wait gave."""
    other = workflow.external("o")
    task = asyncio.create_task(other.signal(paid, 3) if what == "signal" else other.cancel())
    await asyncio.sleep(0)
    if not at_once:
        await stop.channel().receive()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        await asyncio.sleep(1)
        return "gave up"
    return "done"


@workflow.defn
async def shields() -> str:
    task = asyncio.create_task(workflow.external("o").signal(paid, 3))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        return "still sent"
    return "sent"


@workflow.defn
async def many(count: int) -> int:
    return len(await asyncio.gather(*[workflow.external(f"o-{n}").signal(paid, n) for n in range(count)]))


def sent(service: Service) -> cmd.SignalExternalWorkflowExecution:
    """The one command of a turn."""
    (command,) = service.turn()
    assert isinstance(command, cmd.SignalExternalWorkflowExecution)
    return command


def test_signals_are_sent_in_every_form() -> None:
    """Typed with a value, as a call, and by name; each is waited for."""
    service = Service(sends)
    first = sent(service)
    assert ("o", "r", "n", "paid") == (first.workflow_id, first.run_id, first.namespace, first.signal_name)
    assert not first.child_workflow_only
    others.signaled(service)
    second = sent(service)
    others.signaled(service)
    third = sent(service)
    assert [b"[3]", b"[4]", b'[1,"two"]'] == [bytes(one.input) for one in (first, second, third)]
    assert "plain" == third.signal_name
    others.signaled(service)
    service.turn()
    assert "o" == service.result()
    service.check()


def test_another_workflow_is_asked_to_stop() -> None:
    """With the reason; the wait ends when it has been asked."""
    service = Service(asks, "enough")
    (command,) = service.turn()
    assert cmd.RequestCancelExternalWorkflowExecution(workflow_id="o", reason="enough") == command
    others.cancel_requested(service)
    service.turn()
    assert "asked" == service.result()
    service.check()


FAILURES = [
    ("EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND", "it was not found, or is closed"),
    ("NAMESPACE_NOT_FOUND", "its namespace was not found"),
    ("SIGNAL_COUNT_LIMIT_EXCEEDED", "it has taken as many signals as a run may"),
    ("SOMETHING_NEW", "SOMETHING_NEW"),
    ("", "the service did not say why"),
]


@pytest.mark.parametrize(("cause", "reason"), FAILURES, ids=lambda one: one or "no cause")
def test_what_cannot_be_delivered_raises_its_cause(cause: str, reason: str) -> None:
    """The error's type is for programs, its message for people."""
    service = Service(tells)
    service.turn()
    others.signal_failed(service, cause)
    service.turn()
    assert f"{cause or None}: cannot signal workflow 'o': {reason}" == service.result()
    service.check()


def test_a_request_that_cannot_be_delivered_raises_too() -> None:
    """There is no such workflow."""
    service = Service(asks, "")
    service.turn()
    others.cancel_failed(service)
    service.turn()
    assert "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND: cannot cancel workflow 'o': it was not found, or is closed" == (
        service.result()
    )
    service.check()


def test_a_failure_that_nobody_catches_fails_the_workflow() -> None:
    """As any error."""
    service = Service(sends)
    service.turn()
    others.signal_failed(service)
    assert ["FailWorkflowExecution"] == names(service.turn())
    service.check()


def test_a_signal_that_has_not_left_is_taken_back() -> None:
    """Nothing of it leaves, and the wait is over."""
    service = Service(gives_up, "signal", True)
    assert ["StartTimer"] == names(service.turn())
    service.fire_timer()
    service.turn()
    assert "gave up" == service.result()
    service.check()


def test_a_signal_that_is_on_its_way_is_waited_for() -> None:
    """Cancelling the wait changes nothing, as in Temporal."""
    service = Service(gives_up, "signal", False)
    assert ["SignalExternalWorkflowExecution"] == names(service.turn())
    service.signal("stop")
    assert [] == service.turn()
    others.signaled(service)
    service.turn()
    assert "done" == service.result()
    service.check()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_cancel_request_cannot_be_taken_back(at_once: bool) -> None:
    """The wait ends, the request is delivered, and its answer means nothing any more."""
    service = Service(gives_up, "cancel", at_once)
    commands = names(service.turn())
    if not at_once:
        service.signal("stop")
        commands += names(service.turn())
    assert ["RequestCancelExternalWorkflowExecution", "StartTimer"] == commands
    others.cancel_failed(service)
    assert [] == service.turn()
    service.fire_timer()
    service.turn()
    assert "gave up" == service.result()
    service.check()


def test_a_shielded_signal_outlives_the_cancellation() -> None:
    """The workflow hears of the cancellation while the signal goes on."""
    service = Service(shields)
    service.turn()
    service.request_cancel()
    assert [] == service.turn()
    others.signaled(service)
    service.turn()
    assert "still sent" == service.result()
    service.check()


def test_a_value_that_does_not_fit_fails_at_the_call() -> None:
    """The argument is checked against the type of the signal, and nothing leaves."""

    @workflow.defn
    async def parent() -> str:
        with pytest.raises(ConversionError, match="paid"):
            await workflow.external("o").signal(paid, "no")  # type: ignore[misc]
        return "refused"

    assert ["CompleteWorkflowExecution"] == names(Service(parent).turn())


def test_others_are_not_reached_from_queries() -> None:
    """A query that signals fails and leaves no trace."""

    @workflow.defn
    async def parent() -> None:
        @workflow.query
        def sends_one() -> str:
            workflow.external("o").signal(paid, 1).send(None)
            return ""

        @workflow.query
        def asks_one() -> str:
            workflow.external("o").cancel().send(None)
            return ""

        await asyncio.sleep(10)

    service = Service(parent)
    service.turn()
    with pytest.raises(AssertionError, match="signal 'paid' to workflow 'o' cannot be used in a query"):
        service.query("sends_one")
    with pytest.raises(AssertionError, match="cancelling workflow 'o' cannot be used in a query"):
        service.query("asks_one")
    assert [] == service.of(ev.SignalExternalWorkflowExecutionInitiated)


MISMATCHES: list[tuple[Any, str]] = [
    (
        lambda: workflow.external("z").signal(paid, 3),
        r"workflow_id='z', signal_name='paid'\) at .*test_external.py:\d+ in ",
    ),
    (lambda: workflow.external("o").signal("other", 3), r"signal_name='other'\) at "),
    (lambda: workflow.external("o").cancel(), r"gave RequestCancelExternalWorkflowExecution\(workflow_id='o'\)"),
]


@pytest.mark.parametrize(("step", "message"), MISMATCHES, ids=["workflow", "signal", "cancel"])
def test_a_replay_that_sends_something_else_says_what(step: Any, message: str) -> None:
    """The message names both sides."""
    service = Service(tells)
    service.turn()

    @workflow.defn(name="tells")
    async def other() -> None:
        await step()

    expected = r"SignalExternalWorkflowExecutionInitiated\(workflow_id='o', signal_name='paid'\).*" + message
    with pytest.raises(NondeterminismError, match=expected):
        Replayer(workflows=[other]).replay(service.events)


def test_an_answer_to_nothing_is_nondeterminism() -> None:
    """History and code do not belong together."""
    service = Service(many, 0)
    service.add(ev.ExternalWorkflowExecutionSignaled, initiated_event_id=9, workflow_id="o")
    with pytest.raises(NondeterminismError, match="event 2 answers what event 9 initiated, which is unknown"):
        service.turn()


def test_many_signals_leave_in_order() -> None:
    """A thousand at once, answered in any order."""
    service = Service(many, 1000)
    assert [f"o-{n}" for n in range(1000)] == [getattr(command, "workflow_id", "") for command in service.turn()]
    for event in reversed(service.of(ev.SignalExternalWorkflowExecutionInitiated)):
        fields = {"initiated_event_id": event.event_id, "workflow_id": event.workflow_id}
        service.add(ev.ExternalWorkflowExecutionSignaled, **fields)
    service.turn()
    assert 1000 == service.result()
    service.check()


def test_an_evicted_run_takes_up_its_signals() -> None:
    """A worker that has to replay knows what is on its way."""
    service = Service(tells)
    service.turn()
    service.evict()
    others.signaled(service)
    service.turn()
    assert "told" == service.result()
    service.check()
