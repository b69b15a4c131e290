"""The executions of one plan on one side: found from what clients start and what runs start, read as they grow."""

from __future__ import annotations

import asyncio
from typing import Final

from perdure.client import Client
from perdure_proto import events as ev
from perdure_proto.codec import decode_events
from tests.differential.rest import Run, awaited

LISTEN_SECONDS: Final = 5.0
REST_SECONDS_MAX: Final = 40.0


class NoRestError(Exception):
    """A family does not come to rest."""


class Family:
    """All runs that a plan has led to."""

    def __init__(self, client: Client) -> None:
        self._service = client.service
        self.runs: dict[str, Run] = {}

    def learn(self, workflow_id: str, run_id: str) -> None:
        """There is such a run."""
        if run_id and run_id not in self.runs:
            self.runs[run_id] = Run(workflow_id=workflow_id, run_id=run_id)

    async def until_at_rest(self) -> None:
        """Reads until nothing is left to happen by itself. Raises `NoRestError`."""
        try:
            async with asyncio.timeout(REST_SECONDS_MAX):
                while await self._is_busy() or await self._news():
                    pass
        except TimeoutError:
            left = [f"{each.run.workflow_id} waits for {each.why}" for each in awaited(list(self.runs.values()))]
            raise NoRestError("; ".join(left) or "there is always something new") from None

    def open(self) -> list[Run]:
        """Runs that are not closed, in the order of their names."""
        return sorted((run for run in self.runs.values() if not run.is_closed), key=lambda run: run.workflow_id)

    async def _is_busy(self) -> bool:
        """Waits for the next event of something that is not at rest, if anything is not."""
        first = next(awaited(list(self.runs.values())), None)
        if first is not None:
            await self._read(first.run, LISTEN_SECONDS)
        return first is not None

    async def _news(self) -> bool:
        """Reads what is new of every open run; whether anything was."""
        found = [await self._read(run) for run in list(self.runs.values()) if not run.is_closed]
        return any(found)

    async def _read(self, run: Run, wait: float = 0.0) -> bool:
        answer = await self._service.history(run.workflow_id, run.run_id, len(run.events), wait=wait)
        events = decode_events(answer.events)
        run.events += events
        for event in events:
            if isinstance(event, ev.ChildWorkflowExecutionStarted):
                self.learn(event.workflow_id, event.run_id)
            elif isinstance(event, ev.WorkflowExecutionTerminated):
                self.learn(run.workflow_id, event.reset_run_id)
        self.learn(run.workflow_id, run.next_run_id)
        return bool(events)
