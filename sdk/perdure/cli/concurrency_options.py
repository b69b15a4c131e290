"""`--concurrency-key` and `--concurrency-max`: how many of a kind may run at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from perdure.cli.exits import usage_error
from perdure.cli.settings import Decorated
from perdure_proto.options import CONCURRENCY_MAX_MAX, concurrency_refusal


def concurrency_options(things: str) -> Callable[[Decorated], Decorated]:
    """Both options, for `things`."""

    def decorate_all(function: Decorated) -> Decorated:
        for decorate in (
            click.option(
                "--concurrency-max",
                type=click.IntRange(1, CONCURRENCY_MAX_MAX),
                help=f"How many {things} of the key may run at once; further ones wait in order.",
            ),
            click.option("--concurrency-key", default="", help=f"What {things} share a limit by; by default the type."),
        ):
            function = decorate(function)
        return function

    return decorate_all


def concurrency_fields(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of the request that these options give."""
    wrong = concurrency_refusal(values["concurrency_key"], values["concurrency_max"])
    if wrong is not None:
        raise usage_error(wrong)
    return {"concurrency_key": values["concurrency_key"], "concurrency_max": values["concurrency_max"]}
