"""The entry of a supervised process: `perdure`, ended when its supervisor is gone.

Standard input is the read end of a pipe that the supervisor holds. At its end, however it came, the process gets the
SIGTERM that a living supervisor would have sent; what is left of its session after a grace period is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

GRACE_SECONDS = 5.0


def watch_supervisor() -> None:
    """Start watching; standard input itself becomes empty for the code that runs here."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_end_with, args=(pipe,), name="supervisor-watch", daemon=True).start()


def _end_with(pipe: int) -> None:
    while os.read(pipe, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    # The supervisor made this process the leader of its session: nobody outside is in the group.
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    watch_supervisor()
    from perdure.cli.program import run

    sys.exit(run(sys.argv[1:]))
