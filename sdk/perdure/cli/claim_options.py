"""Options of every start: how its id is claimed, and what is kept beside it to find it by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import click

from perdure.cli.inputs import mapping_option
from perdure.cli.settings import Decorated
from perdure_proto.options import IdConflictPolicy, IdReusePolicy


def claim_options(thing: str, *, default: IdConflictPolicy | None = "fail") -> Callable[[Decorated], Decorated]:
    """`--id-conflict-policy`, `--id-reuse-policy`, `--request-id`, `--memo` and `--search-attribute` of a thing.

    Without a `default` the conflict policy must be said.
    """
    said: dict[str, Any] = {"required": True} if default is None else {"default": default, "show_default": True}

    def decorate_all(function: Decorated) -> Decorated:
        for decorate in (
            mapping_option(
                "--search-attribute", "--search-attributes", "search_attributes", help="What to find it by."
            ),
            mapping_option("--memo", help="What is kept beside it."),
            click.option("--request-id", default="", help="A repeat with the same id gets the first answer."),
            click.option(
                "--id-reuse-policy",
                type=click.Choice(get_args(IdReusePolicy)),
                default="allow_duplicate",
                show_default=True,
                help=f"When an {thing} of this id has closed.",
            ),
            click.option(
                "--id-conflict-policy",
                type=click.Choice(get_args(IdConflictPolicy)),
                **said,
                help=f"When an {thing} of this id is running.",
            ),
        ):
            function = decorate(function)
        return function

    return decorate_all
