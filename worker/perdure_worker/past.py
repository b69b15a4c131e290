"""The history that a task leaves out: fetched in pages when the run is not cached, and put before what the task has.

Pages are joined undecoded; only event ids are read, to know where a page ends and what the task brought already.
"""

from __future__ import annotations

from typing import Final, Protocol
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Raw, Struct

from perdure.exceptions import RPCError
from perdure_proto.codec import join_arrays
from perdure_proto.service import HistoryAnswer
from perdure_proto.tasks import QueryTask, WorkflowTask
from perdure_worker.exchange import Transport

PATIENCE: Final = 30.0
PAGES_MAX: Final = 1_000

_answers = msgspec.json.Decoder(HistoryAnswer)
_raws = msgspec.json.Decoder(list[Raw])


class _Place(Struct):
    """All of an event that is read here."""

    event_id: int


_place = msgspec.json.Decoder(_Place)


class Owners(Protocol):
    """The way to the owner of a workflow."""

    def about(self, namespace: str, workflow_id: str) -> Transport: ...


class Past:
    """Completes tasks with the events that came before them."""

    def __init__(self, owners: Owners, namespace: str, namespace_path: str) -> None:
        self._owners = owners
        self._namespace = namespace
        self._namespace_path = namespace_path

    async def complete(self, task: WorkflowTask | QueryTask) -> WorkflowTask | QueryTask:
        """The same task with the whole history. Raises `RPCError`."""
        brought = _raws.decode(task.events)
        first = id_of(brought[0]) if brought else task.last_event_id + 1 if isinstance(task, QueryTask) else 0
        before = await self._events_before(task, first)
        events = Raw(join_arrays([*before, bytes(task.events)]))
        return msgspec.structs.replace(task, events=events, history_from=1)

    async def _events_before(self, task: WorkflowTask | QueryTask, first: int) -> list[bytes]:
        pages: list[bytes] = []
        after = 0
        for _ in range(PAGES_MAX):
            if after >= first - 1:
                return pages
            page = [event for event in await self._page(task, after) if id_of(event) < first]
            if not page:
                break
            after = id_of(page[-1])
            pages.append(b"[" + b",".join([bytes(event) for event in page]) + b"]")
        if after < first - 1:
            raise RPCError(f"the history of {task.run_id} ends at event {after}, expected {first - 1}")
        return pages

    async def _page(self, task: WorkflowTask | QueryTask, after: int) -> list[Raw]:
        query = urlencode({"run_id": task.run_id, "after": after})
        path = f"{self._namespace_path}/workflows/{quote(task.workflow_id, safe='')}/history?{query}"
        owner = self._owners.about(self._namespace, task.workflow_id)
        answer = _answers.decode(await owner.send("GET", path, None, PATIENCE))
        return _raws.decode(answer.events)


def id_of(event: Raw) -> int:
    """Its place in the history."""
    return _place.decode(event).event_id


def is_whole(task: WorkflowTask | QueryTask) -> bool:
    """Whether the task brings the history from its first event."""
    return task.history_from == 1 and bytes(task.events) != b"[]"
