"""Runs users' workflows and activities: polls, replays, drives, guards and reports.

`Worker` takes tasks of a queue from the service; `Replayer` runs recorded histories against code without one.
"""

from perdure_worker.replayer import Replayer
from perdure_worker.worker import Worker

__all__ = ["Replayer", "Worker"]
