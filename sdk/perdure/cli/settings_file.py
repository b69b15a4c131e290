"""The settings file: TOML, given by `--config` or `PERDURE_CONFIG`, else `perdure.toml` here or in the user's folder.

Keys at the top concern every command that has the setting; a table `[client]`, `[worker]`, `[server]` or `[dev]` goes
over them for its role. `[limits]` and `[engine]` are bounds of the server. A key that nobody knows is an error.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import click

from perdure.cli.exits import usage_error
from perdure.cli.settings import SETTINGS, Decorated, Role, settings_of

BOUNDS = ("limits", "engine")
META_KEY = "perdure.settings_file"

Document = Mapping[str, Any]


def find_file(given: str | None) -> Path | None:
    """The file to read: the one that was named, or the first that exists."""
    if given:
        path = Path(given).expanduser()
        if not path.is_file():
            raise usage_error(f"the settings file {given} does not exist: correct --config or PERDURE_CONFIG")
        return path
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return next((path for path in (Path("perdure.toml"), folder / "perdure" / "config.toml") if path.is_file()), None)


def read_document(path: Path | None) -> Document:
    """The checked contents of the file; empty without one."""
    if path is None:
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise usage_error(f"cannot read the settings file {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise usage_error(f"the settings file {path} is not TOML: {error}") from None
    for problem in _problems(document):
        raise usage_error(f"the settings file {path}: {problem}")
    return document


def values_for(document: Document, role: Role) -> dict[str, Any]:
    """What the file says to one role."""
    own: Document = document.get(role, {})
    names = [setting.name for setting in settings_of(role)]
    return {name: own.get(name, document.get(name)) for name in names if name in own or name in document}


def config_option(role: Role) -> Callable[[Decorated], Decorated]:
    """`--config`, read before all else, so that what it says becomes the defaults of the command."""

    def load(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        document = read_document(find_file(value))
        ctx.meta[META_KEY] = document
        ctx.default_map = values_for(document, role)

    return click.option(
        "--config",
        metavar="FILE",
        envvar="PERDURE_CONFIG",
        is_eager=True,
        expose_value=False,
        callback=load,
        help="The settings file (TOML).",
    )


def _problems(document: Document) -> list[str]:
    tables = {*Role, *BOUNDS}
    found = [f"there is no setting '{key}'" for key in document if key not in tables and key not in SETTINGS]
    for role in Role:
        table = document.get(role, {})
        if not isinstance(table, dict):
            found.append(f"'{role}' is a table: write [{role}]")
            continue
        known = {setting.name for setting in settings_of(role)}
        found += [f"[{role}] has no setting '{key}'" for key in cast("Document", table) if key not in known]
    return found
