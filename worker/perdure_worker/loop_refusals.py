"""The part of asyncio's loop that a workflow cannot have: everything of I/O, of threads and of running the loop itself.

Each refusal names the call and what to use instead. This module knows nothing of how a workflow's loop works.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from perdure.exceptions import NondeterminismError

if TYPE_CHECKING:
    from collections.abc import Callable

_ACTIVITY = "do it in an activity"
_SIGNAL = "let the outside world reach a workflow with a signal or an update"
_WORKER = "the worker drives a workflow's loop; await the coroutine instead"


def refuse(call: str, remedy: str) -> NoReturn:
    """Raise the error that names the call and what to do instead."""
    message = f"{call} cannot be used inside a workflow: {remedy}"
    raise NondeterminismError(message)


def _refused(call: str, remedy: str) -> Callable[..., NoReturn]:
    def refused(*_args: object, **_options: object) -> NoReturn:
        refuse(f"loop.{call}()", remedy)

    return refused


class RefusingLoop(asyncio.AbstractEventLoop):
    """An event loop with no outside world."""

    run_in_executor = _refused("run_in_executor", _ACTIVITY)  # type: ignore[assignment] # generic in typeshed
    set_default_executor = _refused("set_default_executor", _ACTIVITY)
    shutdown_default_executor = _refused("shutdown_default_executor", _ACTIVITY)

    getaddrinfo = _refused("getaddrinfo", _ACTIVITY)
    getnameinfo = _refused("getnameinfo", _ACTIVITY)
    create_connection = _refused("create_connection", _ACTIVITY)
    create_datagram_endpoint = _refused("create_datagram_endpoint", _ACTIVITY)
    create_server = _refused("create_server", _SIGNAL)
    create_unix_connection = _refused("create_unix_connection", _ACTIVITY)
    create_unix_server = _refused("create_unix_server", _SIGNAL)
    connect_accepted_socket = _refused("connect_accepted_socket", _ACTIVITY)
    connect_read_pipe = _refused("connect_read_pipe", _ACTIVITY)
    connect_write_pipe = _refused("connect_write_pipe", _ACTIVITY)
    start_tls = _refused("start_tls", _ACTIVITY)
    sendfile = _refused("sendfile", _ACTIVITY)
    subprocess_shell = _refused("subprocess_shell", _ACTIVITY)
    subprocess_exec = _refused("subprocess_exec", _ACTIVITY)

    add_reader = _refused("add_reader", _ACTIVITY)  # type: ignore[assignment] # generic in typeshed
    remove_reader = _refused("remove_reader", _ACTIVITY)
    add_writer = _refused("add_writer", _ACTIVITY)  # type: ignore[assignment] # generic in typeshed
    remove_writer = _refused("remove_writer", _ACTIVITY)
    sock_recv = _refused("sock_recv", _ACTIVITY)
    sock_recv_into = _refused("sock_recv_into", _ACTIVITY)
    sock_recvfrom = _refused("sock_recvfrom", _ACTIVITY)
    sock_recvfrom_into = _refused("sock_recvfrom_into", _ACTIVITY)
    sock_sendall = _refused("sock_sendall", _ACTIVITY)
    sock_sendto = _refused("sock_sendto", _ACTIVITY)
    sock_sendfile = _refused("sock_sendfile", _ACTIVITY)
    sock_connect = _refused("sock_connect", _ACTIVITY)
    sock_accept = _refused("sock_accept", _SIGNAL)

    add_signal_handler = _refused("add_signal_handler", _SIGNAL)  # type: ignore[assignment] # generic in typeshed
    remove_signal_handler = _refused("remove_signal_handler", _SIGNAL)

    run_forever = _refused("run_forever", _WORKER)
    run_until_complete = _refused("run_until_complete", _WORKER)
    stop = _refused("stop", _WORKER)
    shutdown_asyncgens = _refused("shutdown_asyncgens", _WORKER)
