"""Work that has to stay on one worker: each host says which queue only it polls."""

from datetime import timedelta
from typing import Any

from perdure import activity, workflow

MINUTE = timedelta(minutes=1)
STEPS = 3


class Host:
    """One machine, with what only it has."""

    def __init__(self, own_queue: str) -> None:
        self.own_queue = own_queue
        self.files: list[str] = []

    @activity.defn(start_to_close_timeout=MINUTE)
    async def reserve(self) -> str:
        """The queue of whoever takes this."""
        return self.own_queue

    @activity.defn(start_to_close_timeout=MINUTE, schedule_to_start_timeout=MINUTE)
    async def download(self, name: str) -> int:
        self.files.append(name)
        return len(self.files)

    @activity.defn(start_to_close_timeout=MINUTE, schedule_to_start_timeout=MINUTE)
    async def read(self, name: str) -> str:
        """Fails on every other host."""
        return f"{self.files[self.files.index(name)]} on {self.own_queue}"


@workflow.defn
async def stays(name: str) -> list[str]:
    queue = await Host.reserve()
    await Host.download.with_options(task_queue=queue)(name)
    return [queue, *[await Host.read.with_options(task_queue=queue)(name) for _ in range(STEPS)]]


WORKFLOWS: list[workflow.Workflow[..., Any]] = [stays]
