"""`perdure version`: what is installed here."""

from __future__ import annotations

import platform
from importlib import metadata

import click
from msgspec import Struct

from perdure.cli.output import Output
from perdure.cli.settings import SETTINGS, option

DISTRIBUTION = "perdure"


class Version(Struct, frozen=True, kw_only=True):
    """What is installed."""

    perdure: str
    python: str
    platform: str


@click.command()
@option(SETTINGS["output"])
def version(output: str) -> None:
    """Say which version this is."""
    found = Version(
        perdure=installed_version(),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
    )
    Output("jsonl" if output == "jsonl" else "json" if output == "json" else "text").result(
        found, f"perdure {found.perdure} (Python {found.python}, {found.platform})"
    )


def installed_version() -> str:
    """The version of the installed distribution; of a bare checkout, `0`."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0"
