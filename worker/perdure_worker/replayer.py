"""Replays recorded histories on the code of today: whether it still gives the commands that history holds.

It needs no service and changes nothing: what it runs stops where the history stops. It must not know polls or caches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from perdure._definition import Workflow, WorkflowDefinition
from perdure._history import History
from perdure._runtime import current
from perdure._worker_interceptor import Interceptor
from perdure.converter import DataConverter
from perdure.exceptions import NondeterminismError
from perdure_proto.events import AnyEvent, WorkflowExecutionStarted
from perdure_proto.temporal_json import history_from_json
from perdure_worker import guard
from perdure_worker.outcome import InstanceOptions
from perdure_worker.runtime import WorkflowInstance
from perdure_worker.workflow_interception import workflow_interceptors

REPLAYED: Final = "replayed"


class Replayer:
    """Replays histories of these workflows.

    Args:
        workflows: what `Worker(workflows=…)` takes.
        data_converter: that of the client which started them. Default: the plain one.
        interceptors: those of the workers that ran them. Default none.
    """

    def __init__(
        self,
        workflows: Sequence[Workflow[Any, Any]],
        *,
        data_converter: DataConverter | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        guard.install(current)
        self._definitions = {one.name: one.definition for one in workflows}
        self._dynamic = next((one.definition for one in workflows if one.definition.dynamic), None)
        self._options = InstanceOptions(
            converter=data_converter or DataConverter(), interceptors=workflow_interceptors(interceptors)
        )

    def replay(self, history: History | Iterable[AnyEvent] | Path | str) -> None:
        """Replays one history: a `History`, its events, or the path of a file in Temporal's JSON format.

        Raises `NondeterminismError` when the code goes another way, naming the event, what was expected, what was
        found and the line; and whatever else fails the workflow's task.
        """
        events = events_of(history)
        if not events or not isinstance(events[0], WorkflowExecutionStarted):
            raise ValueError("the history does not begin with WorkflowExecutionStarted")
        started = events[0]
        definition = self._definition_of(started.workflow_type)
        instance = WorkflowInstance(
            definition,
            self._options,
            workflow_id=started.workflow_id or REPLAYED,
            run_id=started.original_execution_run_id or REPLAYED,
        )
        try:
            error = instance.replay(events)
        finally:
            instance.close()
        if error is not None:
            raise error

    def _definition_of(self, workflow_type: str) -> WorkflowDefinition:
        definition = self._definitions.get(workflow_type, self._dynamic)
        if definition is None:
            known = ", ".join(sorted(self._definitions)) or "none"
            raise NondeterminismError(f"no workflow is named {workflow_type!r}; there are: {known}")
        return definition


def events_of(history: History | Iterable[AnyEvent] | Path | str) -> list[AnyEvent]:
    """The events of whatever form a history has."""
    if isinstance(history, Path | str):
        return list(history_from_json(Path(history).read_bytes()))
    return list(history.events if isinstance(history, History) else history)
