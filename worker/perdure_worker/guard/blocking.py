"""What would block a workflow or leave its thread, where the audit hook is blind: `time.sleep` and `Thread.start`.

Python reports no thread start before 3.12 and no sleep before 3.13.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from perdure_worker.guard.seam import Seam, replace
from perdure_worker.loop_refusals import refuse


def install_refusals(seam: Seam[Any]) -> None:
    """Replace the two calls by ones that refuse inside a workflow."""
    real_sleep = time.sleep
    real_start = threading.Thread.start

    def sleep(seconds: float, /) -> None:
        if seam.inside():
            refuse("time.sleep()", "use `await asyncio.sleep(…)`, which is durable")
        real_sleep(seconds)

    def start(self: threading.Thread) -> None:
        if seam.inside():
            refuse("threading.Thread.start()", "use asyncio.create_task(), or do the work in an activity")
        real_start(self)

    replace(time, "sleep", sleep, known_as="time.sleep")
    replace(threading.Thread, "start", start, known_as="threading.Thread.start")
