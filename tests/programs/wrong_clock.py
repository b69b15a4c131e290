"""`perdure` in a process whose time of day is wrong: by so many seconds, and by so many more after each SIGUSR1.

    python wrong_clock.py SECONDS MORE server …

What reads `time.time` is deceived, in Python; monotonic clocks go on as they do.
"""

import signal
import sys
import time

wrong_by, more = float(sys.argv[1]), float(sys.argv[2])
del sys.argv[1:3]
_true_time = time.time


def _jump(*_: object) -> None:
    global wrong_by  # noqa: PLW0603 - the state of this process
    wrong_by += more
    sys.stdout.write(f"the clock is wrong by {wrong_by:+.0f} s\n")
    sys.stdout.flush()


signal.signal(signal.SIGUSR1, _jump)
time.time = lambda: _true_time() + wrong_by
time.time_ns = lambda: int(time.time() * 1e9)

from perdure.cli import main  # noqa: E402 - the clock is wrong before anything is imported

if __name__ == "__main__":
    main()
