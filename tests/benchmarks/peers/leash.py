"""Runs a command for as long as somebody holds its standard input open: a peer must not outlive the benchmark, however
that ends. Run by path and with the standard library only, so that it costs a few milliseconds and nothing afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """The exit status of the command; it is waited for here, so that it leaves no zombie."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with, args=(os.dup(0), child), daemon=True).start()
    return child.wait()


def _end_with(pipe: int, child: subprocess.Popen[bytes]) -> None:
    while os.read(pipe, 4096):
        pass
    child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
