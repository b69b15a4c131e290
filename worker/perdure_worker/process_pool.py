"""Processes for activities with `executor="process"`: made when needed, used again, killed to cancel what they run.

Each runs one attempt at a time, driven by the thread that the attempt has in the worker, so there are never more of
them than slots. A process that was killed or crashed is gone with its attempt, and no other notices. A crash is a
failure that is retried. It must not know tasks or the service.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final, Protocol, assert_never

from msgspec import Raw, structs

from perdure._runtime import CompleteAsyncError
from perdure.activity import Info
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError, CancelledError, ConversionError, FailureError
from perdure_proto.failures import ApplicationFailure, CanceledFailure, Failure
from perdure_proto.payload import NULL
from perdure_worker import process_child as child
from perdure_worker.registry import RegisteredActivity

CRASHED: Final = "ProcessCrashed"
"""The type of the failure of an attempt whose process ended without a word."""
ENDING_SECONDS_MAX: Final = 5.0

_context = multiprocessing.get_context("spawn")
_stopping = threading.Lock()


class Stop:
    """Whether an attempt is to stop, and what is called when it is; thread-safe.

    All share one lock: each attempt has one of these, and hardly any is ever asked to stop.
    """

    __slots__ = ("_call", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._call: Callable[[], None] | None = None

    def set(self) -> None:
        """Asks it to stop."""
        with _stopping:
            self._is_set = True
            if self._call is not None:
                self._call()

    def is_set(self) -> bool:
        """Whether it was asked to."""
        return self._is_set

    def calls(self, call: Callable[[], None] | None) -> None:
        """From now on this is called to stop it; at once, if it was asked to stop before. None: nothing any more."""
        with _stopping:
            self._call = call
            if call is not None and self._is_set:
                call()


class Runtime(Protocol):
    """The attempt as the worker has it."""

    stop: Stop

    def info(self) -> Info: ...

    def heartbeat(self, details: tuple[object, ...]) -> None: ...


class Child:
    """One process, and the worker's end of the pipe to it."""

    def __init__(self) -> None:
        self.pipe, theirs = _context.Pipe()
        self.process: BaseProcess = _context.Process(
            target=child.serve, args=(theirs,), daemon=True, name="perdure-activity"
        )
        self.process.start()
        theirs.close()

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()

    def bury(self) -> None:
        """Waits until it has ended: nobody else would, and it would be a zombie for as long as this process lives."""
        self.process.join(ENDING_SECONDS_MAX)

    def ended(self) -> str:
        """How it ended, after it has."""
        self.process.join(ENDING_SECONDS_MAX)
        code = self.process.exitcode
        self.pipe.close()
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with status {code}"


class ProcessPool:
    """The processes of one worker."""

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._idle: list[Child] = []
        self._closed = False

    def run(self, activity: RegisteredActivity, attempt: Runtime, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the activity returns
        """Runs an attempt and gives its result, in a thread that waits. Raises what ended it.

        `asyncio.CancelledError`: it was stopped. `ApplicationError` of type `ProcessCrashed`: its process ended.
        """
        mine = self._take()
        attempt.stop.calls(mine.kill)
        try:
            level = logging.getLogger().getEffectiveLevel()
            ended = self._drive(mine, attempt, child.Call(activity.pickled, attempt.info(), tuple(args), kwargs, level))
        except (EOFError, OSError):
            how = mine.ended()
            self._drop(mine)
            if attempt.stop.is_set():
                raise asyncio.CancelledError from None
            raise ApplicationError(f"the process of the activity {how}", type=CRASHED) from None
        except BaseException:
            mine.kill()
            mine.bury()
            self._drop(mine)
            raise
        finally:
            attempt.stop.calls(None)
        self._give_back(mine, usable=not attempt.stop.is_set())
        return self._outcome(ended)

    def close(self) -> None:
        """Ends all processes, and those that would be made."""
        with self._lock:
            self._closed = True
            children = list(self._children)
        for each in children:
            each.kill()
        for each in children:
            each.bury()

    def _drive(
        self, mine: Child, attempt: Runtime, call: child.Call
    ) -> child.Returned | child.RaisedThere | child.Left:
        """Sends the call and takes what comes, until the attempt has ended."""
        try:
            mine.pipe.send(call)
        except OSError:
            raise
        except Exception as error:  # whatever pickling raises; nothing was sent
            raise child.unpickled("an argument", error) from error
        while True:
            message: child.Message = received(mine.pipe)
            match message:
                case child.Heartbeat():
                    attempt.heartbeat(message.details)
                case child.Logged():
                    logger = logging.getLogger(message.record.name)
                    if logger.isEnabledFor(message.record.levelno):
                        logger.handle(message.record)
                case child.Returned() | child.RaisedThere() | child.Left():
                    return message
                case _ as unreachable:
                    assert_never(unreachable)

    def _outcome(self, ended: child.Returned | child.RaisedThere | child.Left) -> Any:  # noqa: ANN401 - as above
        match ended:
            case child.Returned():
                return ended.value
            case child.Left():
                raise CompleteAsyncError
            case child.RaisedThere():
                failure = self._encoded(ended.decoded())
                if isinstance(failure.info, CanceledFailure):
                    raise CancelledError(failure.message)
                raise FailureError(failure.message, failure=failure)
            case _ as unreachable:
                assert_never(unreachable)

    def _encoded(self, failure: Failure) -> Failure:
        """Details left the process as plain values: here they become what the client's converter makes of them."""
        cause = None if failure.cause is None else self._encoded(failure.cause)
        info = failure.info
        if isinstance(info, ApplicationFailure) and bytes(info.details) != bytes(NULL):
            raw, encoding = self._converter.encode_values(DataConverter().decode_values(Raw(bytes(info.details))))
            info = structs.replace(info, details=raw, encoding=encoding)
        return structs.replace(failure, info=info, cause=cause)

    def _take(self) -> Child:
        with self._lock:
            while self._idle:
                found = self._idle.pop()
                if found.process.is_alive():
                    return found
                self._children.discard(found)
        made = Child()
        with self._lock:
            self._children.add(made)
            if self._closed:
                made.kill()
        return made

    def _give_back(self, mine: Child, *, usable: bool) -> None:
        with self._lock:
            if usable and not self._closed:
                self._idle.append(mine)
                return
        mine.kill()
        mine.bury()
        self._drop(mine)

    def _drop(self, mine: Child) -> None:
        with self._lock:
            self._children.discard(mine)


def received(pipe: Connection) -> child.Message:
    """The next message. Raises `EOFError` or `OSError` when the process has ended."""
    try:
        message: child.Message = pipe.recv()
    except (EOFError, OSError):
        raise
    except Exception as error:  # whatever unpickling raises
        raise ConversionError(f"the result of an activity in a process cannot be unpickled: {error}") from error
    return message
