"""Groups of commands: they keep the order of declaration and know what this version does not have yet."""

from __future__ import annotations

import difflib

import click


class Group(click.Group):
    """A group that tells a command of another version from a typing error."""

    def __init__(self, *, name: str, help: str, later: tuple[str, ...] = ()) -> None:
        super().__init__(name=name, help=help)
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
