"""Completions on their way out, and the tokens of the tasks that the worker holds.

A token is held from the task's arrival until its completion is answered, so that a service which restarted in
between learns of it and hands it to nobody else. Heartbeats do not end a task.
"""

from __future__ import annotations

from perdure_proto.tasks import AnyCompletion, CompletionResult
from perdure_worker.responder import Responder, Then, forget


class Completions:
    """Where those who run tasks hand in what became of them."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._held: set[str] = set()

    def hold(self, token: str) -> bool:
        """Notes a task that arrived; false when it is held already: the service delivered it twice."""
        if token in self._held:
            return False
        self._held.add(token)
        return True

    @property
    def held(self) -> tuple[str, ...]:
        """The tokens of all tasks that arrived and are not answered for."""
        return tuple(self._held)

    def submit(self, completion: AnyCompletion, then: Then = forget) -> None:
        """Hands in what ends a task."""

        def answered(result: CompletionResult) -> None:
            self._held.discard(completion.token)
            then(result)

        self._responder.submit(completion, answered)

    def report(self, completion: AnyCompletion, then: Then = forget) -> None:
        """Hands in what does not end a task: a heartbeat."""
        self._responder.submit(completion, then)
