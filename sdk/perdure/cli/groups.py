"""Groups of commands: they keep the order of declaration and know what this version does not have yet."""

from __future__ import annotations

import difflib
from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class Imported(UserDict[str, Any]):
    """Commands by name, each imported from its module when it is first asked for: a process loads what it runs.

    >>> dict(Imported({"version": "perdure.cli.version"}))
    {'version': <Command version>}
    """

    def __getitem__(self, name: str) -> click.Command:
        found = self.data[name]
        if isinstance(found, str):
            found = self.data[name] = getattr(import_module(found), name.replace("-", "_"))
        assert isinstance(found, click.Command), f"{name} is a command"
        return found


class Group(click.Group):
    """A group that tells a command of another version from a typing error."""

    def __init__(
        self, *, name: str, help: str, later: tuple[str, ...] = (), modules: Mapping[str, str] | None = None
    ) -> None:
        """`modules` are where the commands are that are not imported yet."""
        super().__init__(name=name, help=help, commands=Imported(modules or {}))
        self.later = later

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)  # click leaves out what is hidden

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(self._unknown(ctx, args[0]))
        return super().resolve_command(ctx, args)

    def _unknown(self, ctx: click.Context, word: str) -> str:
        if word in self.later:
            return f"'{ctx.command_path} {word}' is not in this version of perdure"
        shown = [name for name, command in self.commands.items() if not command.hidden]
        near = difflib.get_close_matches(word, shown, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(shown)}"
        return f"there is no command '{ctx.command_path} {word}'; {hint}"
