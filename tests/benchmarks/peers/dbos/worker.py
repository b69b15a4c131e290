"""A worker of a DBOS queue, a process of its own. Arguments: the DSN, how often the queue is looked at in seconds, and
a file to make when it is ready.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from dbos import DBOS  # type: ignore[import-not-found]

from tests.benchmarks.peers.dbos import workflows
from tests.benchmarks.peers.dbos.queue import QUEUE


def main(dsn: str, poll_seconds: str, ready: str) -> None:
    workflows.launch(dsn)
    # No limits of concurrency or rate: each of them costs queries.
    DBOS.register_queue(QUEUE, polling_interval_sec=float(poll_seconds))
    Path(ready).touch()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
