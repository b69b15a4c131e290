"""Loading users' workflows and activities for a command: what is wrong with their file is one line with its place."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from perdure._runtime import current
from perdure.cli.exits import CommandError, Exit, usage_error
from perdure_worker import guard
from perdure_worker.discovery import DiscoveryError, Found, discover
from perdure_worker.registry import RegistrationError, Registry


def load_definitions(targets: Sequence[str]) -> Found:
    """All definitions of the targets, checked as a worker checks them.

    Raises `CommandError` with status 2: repeating it does not help, a change of the code does.
    """
    guard.install(current)  # before anything that imports user code
    try:
        found = discover(targets)
        Registry(found.workflows, found.activities)
    except (DiscoveryError, RegistrationError) as error:
        raise usage_error(str(error)) from None
    except Exception as error:
        raise CommandError(Exit.USAGE, "IMPORT_FAILED", f"{' '.join(targets)}: {_what_and_where(error)}") from error
    return found


def _what_and_where(error: Exception) -> str:
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return what  # says its own file and line
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    return f"{what} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else what
