"""Signals, and who takes them: handlers, channels, or nobody yet.

A signal waits until there is a handler or a channel of its name, in order, and is never lost: what nobody took moves
to the next run. Handlers run as steps of the loop, never inline. A value that does not fit its type is dropped with a
logged error. Updates are in `updates`. It must not know how activations are driven.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Raw

from perdure._runtime import Handler
from perdure._worker_interceptor import HandleSignalInput
from perdure.exceptions import ApplicationError, ContinueAsNewError, ConversionError
from perdure_proto.errors import Code
from perdure_proto.events import WorkflowExecutionSignaled
from perdure_proto.waitpoints import SIGNAL_PREFIX
from perdure_worker.channels import Item, Mailbox
from perdure_worker.passages import SignalPassage
from perdure_worker.workflow_log import log

if TYPE_CHECKING:
    from perdure_worker.run import Run

SIGNAL: Final = "signal"
UPDATE: Final = "update"


class Ending(Protocol):
    """Who closes the run."""

    def close_with(self, error: BaseException) -> None:
        """The run ends with an exception."""
        ...


class Handlers:
    """The handlers of one run, by kind and name; a name of None takes what has none of its own."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, str | None], Handler] = {}
        self._begun = 0
        self._unfinished: dict[int, tuple[Handler, str]] = {}

    def add(self, handler: Handler) -> None:
        """Declares or replaces one."""
        self._handlers[handler.kind, handler.name] = handler

    def find(self, kind: str, name: str) -> Handler | None:
        """Who takes messages of that name."""
        return self._handlers.get((kind, name)) or self._handlers.get((kind, None))

    def has(self, kind: str, name: str) -> bool:
        """Whether there is one of exactly that name."""
        return (kind, name) in self._handlers

    def of(self, kind: str) -> list[Handler]:
        """All of a kind, in order of declaration."""
        return [handler for (its, _), handler in self._handlers.items() if its == kind]

    def begin(self, handler: Handler, message: str) -> int:
        """A message is on its way to a handler; `message` names it in warnings."""
        self._begun += 1
        self._unfinished[self._begun] = handler, message
        return self._begun

    def end(self, number: int) -> None:
        """The handler is done with it."""
        self._unfinished.pop(number, None)

    @property
    def all_finished(self) -> bool:
        """Whether no signal or update handler is under way."""
        return not self._unfinished

    def abandoned(self) -> list[str]:
        """The messages under way whose loss deserves a warning."""
        unfinished = self._unfinished.values()
        return [f"{one.kind} {message}" for one, message in unfinished if one.unfinished_policy != "abandon"]


class Carrier(Protocol):
    """A message with its arguments as they travel."""

    @property
    def input(self) -> Raw: ...
    @property
    def kwargs(self) -> Raw: ...
    @property
    def encoding(self) -> str: ...


def arguments(run: Run, handler: Handler, name: str, message: Carrier) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that a message carries, as the handler's types. Raises `ConversionError`."""
    args, kwargs = run.converter.decode_args(message.input, message.kwargs, message.encoding, handler.arg_types)
    return (args if handler.name is not None else [name, args]), kwargs


class Signals:
    """The signals of one run."""

    def __init__(self, run: Run, handlers: Handlers, ending: Ending) -> None:
        self._run = run
        self._handlers = handlers
        self._ending = ending
        self._channels: dict[str, Mailbox] = {}
        self._waiting: list[WorkflowExecutionSignaled] = []
        self._on_the_way: dict[int, None] = {}

    def deliver(self, signal: WorkflowExecutionSignaled) -> None:
        """A signal came: to its channel, to its handler, or to wait for one."""
        mailbox = self._channels.get(signal.signal_name)
        handler = self._handlers.find(SIGNAL, signal.signal_name)
        if mailbox is not None:
            self._put(mailbox, signal)
        elif handler is not None and not signal.signal_name.startswith(SIGNAL_PREFIX):
            self._hand_to(handler, signal)
        else:
            self._waiting.append(signal)

    def handler_added(self, handler: Handler) -> None:
        """What waited for this handler is on its way to it."""
        if handler.name in self._channels:
            raise TypeError(f"signal {handler.name!r} has a channel: it cannot have a handler too")
        for signal in self._take_waiting(handler.name):
            self._hand_to(handler, signal)

    def channel(self, name: str, value_type: object) -> Mailbox:
        """The channel of a name, with what came before it was opened."""
        mailbox = self._channels.get(name)
        if mailbox is not None:
            return mailbox
        self._run.require_commands(f"signal channel {name!r}")
        if self._handlers.has(SIGNAL, name):
            raise TypeError(f"signal {name!r} has a handler: it cannot have a channel too")
        mailbox = Mailbox(name, value_type, self._run.loop, self._run.require_commands)
        if self._run.inbound is not None:
            mailbox.passage = SignalPassage(name, self._run.inbound)
        return self._open(mailbox)

    def waitpoint(self, name: str, value_type: object) -> Mailbox:
        """The mailbox of a waitpoint. A value that does not fit is not dropped: there will be no other.

        It is no signal to whoever wrote the workflow, so it passes no interceptor.
        """
        mailbox = Mailbox(name, value_type, self._run.loop, self._run.require_commands)
        mailbox.tells_what_does_not_fit = True
        return self._open(mailbox)

    def _open(self, mailbox: Mailbox) -> Mailbox:
        self._channels[mailbox.name] = mailbox
        for signal in self._take_waiting(mailbox.name):
            self._put(mailbox, signal)
        return mailbox

    def unclaimed(self) -> tuple[int, ...]:
        """The event ids of the signals that nobody took, in order."""
        untaken = [event_id for mailbox in self._channels.values() for event_id in mailbox.untaken()]
        waiting = [signal.event_id for signal in self._waiting]
        return tuple(sorted([*untaken, *waiting, *self._on_the_way]))

    def _take_waiting(self, name: str | None) -> list[WorkflowExecutionSignaled]:
        """The signals that wait for this name; for any but those of waitpoints, when it is None."""
        taken = [one for one in self._waiting if _is_for(one, name)]
        if taken:
            self._waiting = [one for one in self._waiting if not _is_for(one, name)]
        return taken

    def _put(self, mailbox: Mailbox, signal: WorkflowExecutionSignaled) -> None:
        self._run.waitpoints.pop(signal.signal_name, None)
        try:
            value = self._channel_value(mailbox, signal)
        except ConversionError as error:
            if mailbox.tells_what_does_not_fit:
                misfit = ApplicationError(str(error), type=Code.INVALID_ARGUMENT, non_retryable=True)
                mailbox.put(Item(signal.event_id, misfit, signal.header))
            else:
                self._drop(signal, error)
        else:
            mailbox.put(Item(signal.event_id, value, signal.header))

    def _channel_value(self, mailbox: Mailbox, signal: WorkflowExecutionSignaled) -> object:
        """The one value that a signal of a channel carries; none at all is None."""
        converter, kind = self._run.converter, mailbox.value_type
        args, kwargs = converter.decode_args(signal.input, signal.kwargs, signal.encoding, [kind])
        if kwargs or len(args) > 1:
            raise ConversionError(f"a channel takes one value, not {len(args)} and {list(kwargs)}")
        return args[0] if args else converter.decode_value(b"null", "", kind)

    def _hand_to(self, handler: Handler, signal: WorkflowExecutionSignaled) -> None:
        try:
            args, kwargs = arguments(self._run, handler, signal.signal_name, signal)
        except ConversionError as error:
            self._drop(signal, error)
            return
        number = self._handlers.begin(handler, repr(signal.signal_name))
        self._on_the_way[signal.event_id] = None
        call: Callable[[], object] = partial(handler.fn, *args, **kwargs)
        if (inbound := self._run.inbound) is not None:
            call = partial(
                inbound.handle_signal, HandleSignalInput(signal.signal_name, handler.fn, args, kwargs, signal.header)
            )
        handling = self._handle(number, signal.event_id, call)
        _ = self._run.loop.create_task(handling, name=f"signal-{signal.event_id}")

    def _drop(self, signal: WorkflowExecutionSignaled, error: ConversionError) -> None:
        text = "signal %r (event %d) is dropped: %s"
        log(self._run, logging.ERROR, text, signal.signal_name, signal.event_id, error)

    async def _handle(self, number: int, event_id: int, call: Callable[[], object]) -> None:
        """A task of its own also for a plain function, so that handlers begin in the order of their signals."""
        del self._on_the_way[event_id]
        try:
            running = call()
            if inspect.iscoroutine(running):
                await running
        except (Exception, ContinueAsNewError) as error:  # noqa: BLE001 - the ending decides what it means
            self._ending.close_with(error)
        finally:
            self._handlers.end(number)


def _is_for(signal: WorkflowExecutionSignaled, name: str | None) -> bool:
    if name is None:
        return not signal.signal_name.startswith(SIGNAL_PREFIX)
    return signal.signal_name == name
