"""The client of a DBOS queue: it enqueues workflows for a worker in another process, and polls for their results."""

from __future__ import annotations

import time
from typing import Any

from dbos import DBOSClient  # type: ignore[import-not-found]

from tests.benchmarks.peers.dbos import workflows
from tests.benchmarks.peers.dbos.queue import QUEUE, polling_of
from tests.benchmarks.peers.load import ThreadJob, Threads
from tests.benchmarks.peers.parcel import Parcel, expect
from tests.benchmarks.peers.task import Task, run_task
from tests.benchmarks.peers.usage import CLIENT
from tests.benchmarks.peers.work import WAITING_SECONDS, Peer, Signalling

POOL_SIZE = 20
"""As many connections as the worker has; the client's default is 5."""


class QueueClient:
    def __init__(self, task: Task) -> None:
        self._client = DBOSClient(
            system_database_url=workflows.driver_url(task.address), system_database_pool_size=POOL_SIZE
        )
        self._counts = task.counts
        self._polling = polling_of(task.section)
        self._waiting: dict[int, Any] = {}

    def once(self, number: int) -> None:
        expect(Parcel(number), self._result(self._enqueue(f"once-{number}", "once", Parcel(number))))

    def in_sequence(self, number: int) -> None:
        steps = self._counts.steps
        handle = self._enqueue(f"sequence-{number}", "in_sequence", Parcel(number), steps)
        expect(sum(range(number, number + steps)), self._result(handle))

    def fan_out(self, number: int) -> None:
        width = self._counts.fan_width
        expect(list(range(width)), self._result(self._enqueue(f"fan-{number}", "fan_out", width)))

    def wait(self, number: int) -> None:
        self._waiting[number] = self._enqueue(f"signal-{number}", "wait_for_approval")
        time.sleep(WAITING_SECONDS)

    def approve(self, number: int) -> None:
        self._client.send(f"signal-{number}", Parcel(number), workflows.TOPIC)
        expect(Parcel(number), self._result(self._waiting.pop(number)))

    def close(self) -> None:
        self._client.destroy()

    def _enqueue(self, workflow_id: str, name: str, *arguments: object) -> Any:
        options = {"queue_name": QUEUE, "workflow_name": name, "workflow_id": workflow_id}
        return self._client.enqueue(options, *arguments)

    def _result(self, handle: Any) -> object:
        result: object = handle.get_result(polling_interval_sec=self._polling.result)
        return result


def make(task: Task) -> Peer[ThreadJob]:
    client = QueueClient(task)
    return Peer(
        load=Threads(),
        once=client.once,
        in_sequence=client.in_sequence,
        fan_out=client.fan_out,
        signalling={"W4": Signalling(client.wait, client.approve)},
        close=client.close,
    )


if __name__ == "__main__":
    run_task(CLIENT, make)
