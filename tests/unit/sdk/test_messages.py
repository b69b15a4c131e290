"""Typed messages and nested handlers: what is declared with the runtime, and what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import _handlers, _signature, workflow
from perdure._messages import QueryCall, SignalCall, outgoing
from perdure._parameters import Parameters
from perdure.exceptions import ConversionError
from tests.unit.sdk.stand_in import inside


@dataclass
class Approval:
    ok: bool


class Opaque:
    pass


approve = workflow.Signal[Approval]("approve", description="by a person")
go = workflow.Signal[None]("go")
later = workflow.Signal["Approval"]("later")
status = workflow.Query[[], str]("status")
last = workflow.Query[[int], list[str]]("last")
set_amount = workflow.Update[[int], int]("set_amount")


def test_types_stand_in_the_brackets() -> None:
    """Also as a string, and None means nothing."""
    assert [Approval] == list(approve.parameters() or ())
    assert [Approval] == list(later.parameters() or ())
    assert [] == list(go.parameters() or ())
    assert ([int], list[str]) == (list(last.parameters() or ()), last.result_type())
    assert ([], str) == (list(status.parameters() or ()), status.result_type())


def test_without_brackets_anything_goes() -> None:
    """An untyped message is not checked."""
    bare: workflow.Signal[Any] = workflow.Signal("bare")
    assert bare.parameters() is None


def test_types_nobody_can_read_are_refused() -> None:
    """The message is named."""
    with pytest.raises(ConversionError, match="Signal 'odd'"):
        workflow.Signal[Opaque]("odd").parameters()


def test_typed_handlers_are_declared_with_their_types() -> None:
    """The declaration's types hold, names come from the handler."""
    with inside() as runtime:

        @approve.handler
        def _(value: Approval) -> None: ...

        @set_amount.handler
        async def _set(value: int) -> int:
            return value

        @set_amount.validator
        def _check(value: int) -> None: ...

        @go.handler
        def _go() -> None: ...

    found = runtime.handlers["approve"]
    assert ("signal", [Approval], "by a person") == (found.kind, list(found.arg_types or ()), found.description)
    update = runtime.handlers["set_amount"]
    assert ("update", [int], int, ("value",)) == (
        update.kind,
        list(update.arg_types or ()),
        update.result_type,
        getattr(update.arg_types, "names", None),
    )
    assert [] == list(runtime.handlers["go"].arg_types or ())
    assert _check is runtime.validators["set_amount"]


def test_nested_handlers_are_declared_by_their_names() -> None:
    """Each decorator works bare and with options."""
    with inside() as runtime:

        @workflow.signal
        def first(value: int) -> None: ...

        @workflow.signal(name="renamed", unfinished_policy="abandon", description="d")
        async def second(value: int) -> None: ...

        @workflow.query
        def state(*, deep: bool) -> str:
            return ""

        @workflow.update
        async def change(value: int) -> int:
            return value

        @change.validator
        def _check(value: int) -> None: ...

    assert {"first", "renamed", "state", "change"} == set(runtime.handlers)
    assert ("abandon", "d") == (runtime.handlers["renamed"].unfinished_policy, runtime.handlers["renamed"].description)
    assert {"deep": bool} == runtime.handlers["state"].kwarg_types
    assert _check is runtime.validators["change"]
    assert 3 == asyncio.run(change(3))


def test_a_dynamic_handler_has_no_name() -> None:
    """It takes what no other takes."""
    with inside() as runtime:

        @workflow.signal(dynamic=True)
        def any_signal(name: str, args: list[Any]) -> None: ...

        with pytest.raises(TypeError, match="no name"):
            workflow.query(name="x", dynamic=True)(lambda name, args: None)
    types = runtime.handlers[None].arg_types
    assert isinstance(types, Parameters)
    assert ((), Any, None) == (types.positional, types.rest, types.extra)


def test_a_lost_assignment_is_refused() -> None:
    """Without `nonlocal` the workflow would wait for ever."""
    approved = False

    def reads() -> bool:
        return approved

    with inside():
        with pytest.raises(TypeError, match="add 'nonlocal approved'"):

            @approve.handler
            def _typed(value: Approval) -> None:
                approved = True  # noqa: F841

        with pytest.raises(TypeError, match="assigns approved"):

            @workflow.signal
            def bare() -> None:
                approved = True  # noqa: F841

        with pytest.raises(TypeError, match="assigns approved"):

            @workflow.update(name="u")
            def update() -> None:
                approved = True  # noqa: F841


def test_what_only_looks_like_a_lost_assignment_passes() -> None:
    """`nonlocal`, a parameter of the name, and a handler's own variables are fine."""
    approved = False

    def reads() -> bool:
        return approved

    with inside() as runtime:

        @workflow.signal
        def honest() -> None:
            nonlocal approved
            approved = True

        @workflow.signal
        def parameter(approved: bool) -> None:
            own = approved
            assert own

    assert {"honest", "parameter"} == set(runtime.handlers)


def test_queries_and_validators_are_plain() -> None:
    """Both answer at once."""
    with inside():
        with pytest.raises(TypeError, match="plain def"):

            @workflow.query
            async def waits() -> None: ...

        with pytest.raises(TypeError, match="plain def"):

            @set_amount.validator  # type: ignore[arg-type]
            async def _waits(value: int) -> None: ...


def test_a_handler_takes_what_its_message_carries() -> None:
    """One that cannot is refused at its declaration."""
    with inside(), pytest.raises(TypeError, match="carries 1 values"):

        @approve.handler  # type: ignore[arg-type]
        def _() -> None: ...


def test_signatures_are_read_once_for_each_piece_of_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers are made anew in every run, their hints are not."""
    reads: list[str] = []

    def count(fn: Any, owner: str, scope: Any) -> _signature.Signature:
        reads.append(owner)
        return _signature.resolve(fn, owner, scope)

    monkeypatch.setattr(_handlers, "resolve", count)

    def run() -> None:
        @workflow.query
        def counted() -> int:
            return 1

    with inside():
        run()
        run()
    assert ["counted"] == reads


def test_hints_may_name_what_stands_around_the_workflow() -> None:
    """A handler of a workflow that was defined in a function finds the names around it."""

    @dataclass
    class Local:
        x: int

    @workflow.defn
    async def program() -> None:
        @workflow.signal
        def take(value: Local) -> None: ...

    with inside() as runtime, pytest.raises(StopIteration):
        program.fn().send(None)
    assert [Local] == list(runtime.handlers["take"].arg_types or ())


async def test_a_channel_gives_values_in_order() -> None:
    """One by one, without waiting, or as a loop."""
    with inside() as runtime:
        runtime.signals += [1, 2, 3, 4]
        channel = workflow.signal_channel("n", int)
        assert 1 == await channel.receive()
        assert 2 == await channel.receive(timeout=5)
        assert 3 == channel.receive_nowait()
        async for value in channel:
            assert 4 == value
            break
        with pytest.raises(asyncio.QueueEmpty):
            channel.receive_nowait()
        with pytest.raises(TimeoutError):
            await channel.receive(timeout=0)
        approve.channel()
        go.channel()
    assert {"n": int, "approve": Approval, "go": type(None)} == runtime.channels


def test_a_message_is_sent_in_three_forms() -> None:
    """Declared with arguments, as a call, or by name."""
    for found in (outgoing(last, (3,), {}, QueryCall), outgoing(last(3), (), {}, QueryCall)):
        assert ("last", (3,), list[str]) == (found.name, found.args, found.result_type)
        assert [int] == list(found.parameters or ())
    named = outgoing("last", (3,), {}, QueryCall)
    assert (None, Any) == (named.parameters, named.result_type)


@pytest.mark.parametrize("given", [status, status(), 3])
def test_another_kind_of_message_is_refused(given: object) -> None:
    """A query is no signal."""
    with pytest.raises(TypeError, match="is not a signal"):
        outgoing(given, (), {}, SignalCall)


def test_handlers_live_in_workflows() -> None:
    """Outside of one a declaration is a mistake."""
    with pytest.raises(RuntimeError, match="only inside a workflow"):
        go.handler(lambda: None)
