"""The `perdure` command: a composition root. It may import every root, nothing imports it.

The client commands need the base install alone; the server's and the worker's packages are imported only by the
commands that run them, and a missing extra is one clear line.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line and ends the process with its status."""
    from perdure._collector import loading

    with loading():
        from perdure.cli.program import run
    sys.exit(run())
