"""What a command that asks the service has in hand: the connection, the namespace and where to print."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec

from perdure.cli.output import Output
from perdure.cli.service import CommandService, ServiceOptions, connect
from perdure.cli.settings import SETTINGS, Role, option
from perdure.cli.settings_file import config_option

Options = ParamSpec("Options")

_ASKED_FOR = ("output", "api_key", "namespace", "address")
"""Settings of every command that asks the service; declared last to first, so listed first to last."""


class Session:
    """One command's talk with the service."""

    def __init__(self, service: CommandService, output: Output) -> None:
        self.service = service
        self.output = output


def asks_service(
    command: Callable[Concatenate[Session, Options], Awaitable[None]],
) -> Callable[..., None]:
    """A command that gets a `Session`; the options that make one are added to its own."""

    @functools.wraps(command)
    def run(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in _ASKED_FOR}
        asyncio.run(_run(chosen, functools.partial(command, **values)))

    decorated = config_option(Role.CLIENT)(run)
    for name in _ASKED_FOR:
        decorated = option(SETTINGS[name])(decorated)
    return decorated


async def _run(chosen: dict[str, Any], command: Callable[[Session], Awaitable[None]]) -> None:
    options = ServiceOptions(address=chosen["address"], namespace=chosen["namespace"], api_key=chosen["api_key"])
    async with connect(options) as service:
        await command(Session(service, Output(chosen["output"])))
