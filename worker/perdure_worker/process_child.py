"""What runs in a process of a worker: one activity attempt after the other, told over a pipe.

The worker ends such a process by killing it; a process whose worker is gone ends itself. Heartbeats and log records go
up the pipe as they come, and the last message of an attempt is how it ended. Failures travel converted, since not every
exception survives pickling and none keeps its causes. It must not know slots, tasks or the service.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
from logging.handlers import QueueHandler
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from perdure._failures import failure_of
from perdure._runtime import CompleteAsyncError, current_activity
from perdure.activity import ActivityCancellationDetails, Info
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError
from perdure.metrics import MetricMeter
from perdure_proto.codec import encoder
from perdure_proto.errors import Code
from perdure_proto.failures import Failure
from perdure_worker import faults

PARENT_GONE: Final = 70

_failure = msgspec.json.Decoder(Failure)


class Call(NamedTuple):
    """One attempt: the pickled activity, what its code may know, its arguments, and from which level on it logs."""

    activity: bytes
    info: Info
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    log_level: int


class Heartbeat(NamedTuple):
    """The attempt goes on."""

    details: tuple[Any, ...]


class Logged(NamedTuple):
    """The attempt logged something."""

    record: logging.LogRecord


class Returned(NamedTuple):
    """The activity returned."""

    value: Any


class RaisedThere(NamedTuple):
    """The attempt raised; the failure as JSON, its details as plain values."""

    failure: bytes

    def decoded(self) -> Failure:
        """The failure."""
        return _failure.decode(self.failure)


class Left(NamedTuple):
    """The activity is completed from elsewhere."""


Message = Heartbeat | Logged | Returned | RaisedThere | Left


class Outbox(QueueHandler):
    """The way up the pipe, for all threads of the process; also the handler of whatever is logged here."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(pipe)  # type: ignore[arg-type]  # whatever enqueue knows how to use
        self._pipe = pipe
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """One message. Raises what pickling raises, before anything is sent."""
        with self._sending:
            self._pipe.send(message)

    def enqueue(self, record: logging.LogRecord) -> None:
        """A record, made fit for the pipe by `prepare`."""
        self.send(Logged(record))


class ChildAttempt:
    """The `ActivityRuntime` of the code in this process."""

    def __init__(self, info: Info, outbox: Outbox) -> None:
        self._info = info
        self._outbox = outbox

    def info(self) -> Info:
        """What the code may know of its attempt."""
        return self._info

    def heartbeat(self, details: tuple[object, ...]) -> None:
        """Says that the attempt goes on."""
        self._outbox.send(Heartbeat(details))

    def metric_meter(self) -> MetricMeter:
        """One that goes nowhere: a sink belongs to the process that made it."""
        return MetricMeter()

    def is_cancelled(self) -> bool:
        """Never: the process of a cancelled attempt is gone."""
        return False

    def cancellation_details(self) -> ActivityCancellationDetails | None:
        """As above."""
        return None

    def transaction(self) -> NoReturn:
        """There is no loop here."""
        raise faults.no_transaction(faults.ON_THE_LOOP)


def serve(pipe: Connection) -> None:
    """The life of the process: attempts one after the other, until the worker closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the worker decides what it means
    threading.Thread(target=_end_with_parent, daemon=True).start()
    outbox = Outbox(pipe)
    logging.getLogger().addHandler(outbox)
    while True:
        try:
            call: Call = pipe.recv()
        except EOFError:
            return
        except BaseException as error:  # noqa: BLE001 - an argument that cannot be read here fails its attempt alone
            outbox.send(_unpickled("an argument", error))
            continue
        _tell(outbox, _run(call, outbox))


def _run(call: Call, outbox: Outbox) -> Message:
    logging.getLogger().setLevel(call.log_level)
    current_activity.set(ChildAttempt(call.info, outbox))
    try:
        activity = pickle.loads(call.activity)  # noqa: S301 - the worker made it
        return Returned(activity.fn(*call.args, **call.kwargs))
    except CompleteAsyncError:
        return Left()
    except BaseException as error:  # noqa: BLE001 - also SystemExit ends only the attempt
        return _raised(error)


def _tell(outbox: Outbox, ended: Message) -> None:
    try:
        outbox.send(ended)
    except OSError:
        os._exit(PARENT_GONE)
    except Exception as error:  # noqa: BLE001 - whatever pickling raises
        outbox.send(_unpickled("the result", error))


def _raised(error: BaseException) -> RaisedThere:
    return RaisedThere(encoder.encode(failure_of(error, DataConverter())))


def _unpickled(what: str, error: BaseException) -> RaisedThere:
    return _raised(unpickled(what, error))


def unpickled(what: str, error: BaseException) -> ApplicationError:
    """A value cannot cross between worker and process: another attempt would meet the same."""
    message = f"{what} of an activity in a process cannot be pickled: {type(error).__name__}: {error}"
    return ApplicationError(message, type=Code.INVALID_ARGUMENT, non_retryable=True)


def _end_with_parent() -> None:
    """A worker that is killed cannot end its processes, and its attempts are run again elsewhere."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(PARENT_GONE)
