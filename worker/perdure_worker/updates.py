"""Updates: judged by a validator that only looks, accepted, handled, completed.

An update that a replay brings was accepted before, so its validator does not run again. One without a handler waits
until the activation comes to rest, and is then rejected. An exception of the validator rejects the update, one of the
handler fails it; those that say that the program is wrong fail the task. It must not know how activations are driven.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw, Struct

from perdure._runtime import Handler
from perdure._worker_interceptor import HandleUpdateInput
from perdure._workflow_info import UpdateInfo
from perdure.exceptions import ApplicationError, ContinueAsNewError, NondeterminismError
from perdure_proto.commands import CompleteUpdate, ContinueAsNewWorkflowExecution
from perdure_proto.events import WorkflowExecutionUpdateAccepted
from perdure_proto.tasks import UpdateDelivery
from perdure_worker.endings import is_program_error
from perdure_worker.messages import UPDATE, Handlers, arguments
from perdure_worker.replay.machines.update import UpdateMachine
from perdure_worker.stepping import driven

if TYPE_CHECKING:
    from perdure_worker.run import Run

NO_HANDLER: Final = "UPDATE_HANDLER_NOT_FOUND"

current_update: ContextVar[UpdateInfo | None] = ContextVar("perdure_update", default=None)
"""The update whose handler runs."""


class Update(Struct, kw_only=True):
    """An update on its way. `accepted`: its validator has passed it, now or when this ran before."""

    id: str
    name: str
    input: Raw
    kwargs: Raw
    encoding: str
    header: dict[str, Any]
    accepted: bool = False


class Updates:
    """The updates of one run."""

    def __init__(self, run: Run, handlers: Handlers) -> None:
        self._run = run
        self._handlers = handlers
        self._validators: dict[str | None, Callable[..., None]] = {}
        self._waiting: list[Update] = []
        self._not_begun = 0
        """Accepted updates whose handler has not taken its first step."""

    def set_validator(self, name: str | None, fn: Callable[..., None]) -> None:
        """Declares the validator of an update."""
        self._validators[name] = fn

    def handler_added(self, _: Handler) -> None:
        """What waited for this handler is on its way to it."""
        waiting, self._waiting = self._waiting, []
        for update in waiting:
            self.deliver(update)

    def deliver(self, update: Update) -> None:
        """An update came: to its handler, in one of the next steps, or to wait for one until the loop rests."""
        handler = self._handlers.find(UPDATE, update.name)
        if handler is None:
            self._waiting.append(update)
        else:
            number = self._handlers.begin(handler, f"{update.name!r} (id {update.id!r})")
            self._run.loop.call_soon(self._begin, number, handler, update)

    def judge(self, update: Update) -> BaseException | None:
        """Why the update is refused; None when its validator lets it pass, or when it has no handler yet."""
        handler = self._handlers.find(UPDATE, update.name)
        return None if handler is None else self._judge(handler, update)

    def has_handler(self, name: str) -> bool:
        """Whether anybody takes updates of this name."""
        return self._handlers.find(UPDATE, name) is not None

    def reject(self, update: Update, error: BaseException) -> None:
        """The update is refused."""
        self._run.execution.reject_update(UpdateMachine(update.id), self._run.failure_of(error))

    def reject_waiting(self) -> None:
        """The loop is at rest: what nobody takes is refused, unless it moves to the next run."""
        waiting, self._waiting = self._waiting, []
        for update in waiting if not self._move_on() else ():
            self.reject(update, self._missing(update.name))

    def _move_on(self) -> bool:
        """Whether updates that were not judged yet are for the next run: this one has continued as new."""
        return isinstance(self._run.execution.closed_by, ContinueAsNewWorkflowExecution)

    def _missing(self, name: str) -> BaseException:
        known = ", ".join([repr(one.name) for one in self._handlers.of(UPDATE) if one.name]) or "none"
        return ApplicationError(
            f"the workflow has no handler for update {name!r}; it has: {known}. Declare it before the first await",
            type=NO_HANDLER,
            non_retryable=True,
        )

    def _judge(self, handler: Handler, update: Update) -> BaseException | None:
        token = current_update.set(UpdateInfo(id=update.id, name=update.name))
        try:
            args, kwargs = arguments(self._run, handler, update.name, update)
            validator = self._validators.get(handler.name)
            inbound = self._run.inbound
            if inbound is not None:
                given = HandleUpdateInput(
                    update.id, update.name, validator or lets_pass, args, kwargs, headers=update.header
                )
                with self._run.looking():
                    inbound.handle_update_validator(given)
            elif validator is not None:
                with self._run.looking():
                    validator(*args, **kwargs)
        except NondeterminismError as error:
            self._run.fail_task(error)
            return error
        except Exception as error:  # noqa: BLE001 - whatever a validator raises refuses the update
            return error
        finally:
            current_update.reset(token)
        return None

    def _begin(self, number: int, handler: Handler, update: Update) -> None:
        """One step of the loop: the update is judged, and its handler begins.

        A handler takes its first step before the next update is judged, so that a validator sees what it did. A
        refused update makes no task: on replay it is not there, and creation numbers must be the same. One that finds
        the run continued as new is left to the next run.
        """
        if self._not_begun:
            self._run.loop.call_soon(self._begin, number, handler, update)
            return
        if self._move_on() and not update.accepted:
            self._handlers.end(number)
            return
        refusal = None if update.accepted else self._judge(handler, update)
        if refusal is not None:
            self._handlers.end(number)
            self.reject(update, refusal)
            return
        machine = UpdateMachine(update.id)
        self._run.require_commands(f"update {update.name!r}")
        self._run.execution.accept_update(machine)
        current_update.set(UpdateInfo(id=update.id, name=update.name))
        try:
            args, kwargs = arguments(self._run, handler, update.name, update)
            running = self._called(handler, update, args, kwargs)
            if inspect.iscoroutine(running):
                self._not_begun += 1
                name = f"update-{update.id}"
                _ = self._run.loop.create_task(self._finish(number, machine, handler, running), name=name)
                return
            self._complete(machine, handler, running)
        except (Exception, ContinueAsNewError) as error:  # noqa: BLE001 - it fails the update, or the task
            self._fail(machine, error)
        self._handlers.end(number)

    def _called(self, handler: Handler, update: Update, args: list[Any], kwargs: dict[str, Any]) -> object:
        """What the handler gives; a coroutine where it, or an interceptor, waits."""
        if (inbound := self._run.inbound) is None:
            return handler.fn(*args, **kwargs)
        given = HandleUpdateInput(update.id, update.name, handler.fn, args, kwargs, update.header)
        handling = inbound.handle_update_handler(given)
        return handling if inspect.iscoroutinefunction(handler.fn) else driven(handling)

    async def _finish(
        self, number: int, machine: UpdateMachine, handler: Handler, running: Coroutine[Any, Any, Any]
    ) -> None:
        self._not_begun -= 1
        try:
            self._complete(machine, handler, await running)
        except (Exception, asyncio.CancelledError, ContinueAsNewError) as error:  # noqa: BLE001 - as above
            self._fail(machine, error)
        finally:
            self._handlers.end(number)

    def _complete(self, machine: UpdateMachine, handler: Handler, result: object) -> None:
        raw, encoding = self._run.converter.encode_value(result, handler.result_type)
        command = CompleteUpdate(update_id=machine.name, result=raw, encoding=encoding)
        self._run.execution.complete_update(machine, command)

    def _fail(self, machine: UpdateMachine, error: BaseException) -> None:
        if self._run.gone:
            return
        if isinstance(error, ContinueAsNewError):
            self._run.fail_task(RuntimeError("an update handler cannot continue as new: let the workflow do it"))
        elif is_program_error(error, self._run.definition.failure_exception_types):
            self._run.fail_task(error)
        else:
            failure = self._run.failure_of(error)
            self._run.execution.complete_update(machine, CompleteUpdate(update_id=machine.name, failure=failure))


def lets_pass(*_args: object, **_kwargs: object) -> None:
    """The validator of an update that has none."""


def delivered(delivery: UpdateDelivery) -> Update:
    """An update that the task brought."""
    return Update(
        id=delivery.update_id,
        name=delivery.update_name,
        input=delivery.input,
        kwargs=delivery.kwargs,
        encoding=delivery.encoding,
        header=delivery.header,
    )


def accepted(event: WorkflowExecutionUpdateAccepted) -> Update:
    """An update that was accepted when this ran before."""
    return Update(
        id=event.update_id,
        name=event.update_name,
        input=event.input,
        kwargs=event.kwargs,
        encoding=event.encoding,
        header=event.header,
        accepted=True,
    )
