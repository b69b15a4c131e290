"""Completions on their way out, and the tokens of the tasks that the worker holds.

A token is held from the task's arrival until its completion is answered, so that a service which restarted in
between learns of it and hands it to nobody else. Heartbeats do not end a task.

What is handed in about a task goes over the link that brought it. A server that does not own the task any more says
who does: it goes there at once, and so does all that comes later; where nobody is known it is asked again after a
pause. Law: what is handed in about one task arrives in that order, through any number of moves, because the end of an
attempt must not overtake its last heartbeat.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from perdure_proto.errors import Code
from perdure_proto.tasks import AnyCompletion, CompletionResult
from perdure_worker.link import Link
from perdure_worker.responder import Then, forget

MOVES_MAX: Final = 3
"""How often a completion goes from server to server at once; then it pauses before each move."""
PAUSE_SECONDS_FIRST: Final = 0.05
PAUSE_SECONDS_MAX: Final = 1.0


class Ways(Protocol):
    """The links of the worker."""

    def to(self, address: str) -> Link | None:
        """The link of the server at an address. Where there is none yet, one is made if that can be reached."""
        ...

    def any(self) -> Link:
        """A link that lives."""
        ...


class Handed:
    """A completion that was handed in; what is called when it is answered."""

    __slots__ = ("_completions", "completion", "ends", "moves", "then")

    def __init__(self, completions: Completions, completion: AnyCompletion, then: Then, *, ends: bool) -> None:
        self._completions = completions
        self.completion = completion
        self.then = then
        self.ends = ends
        """Whether it ends its task."""
        self.moves = 0

    def __call__(self, result: CompletionResult) -> None:
        self._completions.answered(self, result)


class Completions:
    """Where those who run tasks hand in what became of them."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._held: dict[str, Link] = {}
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._reports: dict[str, list[Handed]] = {}
        """By token, what does not end its task and is not answered."""
        self._waiting: dict[str, list[Handed]] = {}
        """By token, what goes on when the reports before it are answered."""

    def hold(self, token: str, link: Link) -> bool:
        """Notes a task that arrived; false when it is held already: the service delivered it twice."""
        if token in self._held:
            return False
        self._held[token] = link
        return True

    @property
    def held(self) -> tuple[str, ...]:
        """The tokens of all tasks that arrived and are not answered for."""
        return tuple(self._held)

    def submit(self, completion: AnyCompletion, then: Then = forget) -> None:
        """Hands in what ends a task."""
        self._hand_in(Handed(self, completion, then, ends=True))

    def report(self, completion: AnyCompletion, then: Then = forget) -> None:
        """Hands in what does not end a task: a heartbeat."""
        handed = Handed(self, completion, then, ends=False)
        self._hand_in(handed)
        self._reports.setdefault(completion.token, []).append(handed)

    async def flushed(self) -> None:
        """Waits until everything that was handed in is answered."""
        await self._idle.wait()

    def resend(self, handed: Then) -> None:
        """The link over which it went has ended."""
        assert isinstance(handed, Handed), "responders carry what was handed in here"
        self._send(handed)

    def answered(self, handed: Handed, result: CompletionResult) -> None:
        """A server says what became of it, or that another one is to be told."""
        if result.code is Code.WRONG_OWNER:
            self._move(handed, result.owner)
            return
        token = handed.completion.token
        if handed.ends:
            self._held.pop(token, None)
        else:
            self._forget_report(token, handed)
        self._open -= 1
        if not self._open:
            self._idle.set()
        handed.then(result)

    def _hand_in(self, handed: Handed) -> None:
        self._open += 1
        self._idle.clear()
        token = handed.completion.token
        reports = self._reports.get(token)
        if reports and (any(report.moves for report in reports) or self._has_retired(token)):
            self._wait_or_send(handed)
        else:
            self._send(handed)

    def _has_retired(self, token: str) -> bool:
        link = self._held.get(token)
        return link is not None and link.retired

    def _send(self, handed: Handed) -> None:
        link = self._held.get(handed.completion.token)
        if link is None or link.retired:
            link = self._ways.any()
        link.responder.submit(handed.completion, handed)

    # ---- moves -------------------------------------------------------------------------------------------------

    def _move(self, handed: Handed, owner: str) -> None:
        token = handed.completion.token
        handed.moves += 1
        link = self._ways.to(owner)
        if link is not None and token in self._held:
            self._held[token] = link
        if link is not None and handed.moves <= MOVES_MAX:
            self._wait_or_send(handed)
            return
        pause = min(PAUSE_SECONDS_FIRST * 2 ** min(handed.moves - 1, 10), PAUSE_SECONDS_MAX)
        asyncio.get_running_loop().call_later(pause, self._wait_or_send, handed)

    def _wait_or_send(self, handed: Handed) -> None:
        """Not before the reports that were handed in earlier are answered."""
        token = handed.completion.token
        reports = self._reports.get(token, [])
        if reports and reports[0] is not handed:
            self._waiting.setdefault(token, []).append(handed)
        else:
            self._send(handed)

    def _forget_report(self, token: str, handed: Handed) -> None:
        reports = self._reports[token]
        reports.remove(handed)
        if not reports:
            del self._reports[token]
        for one in self._waiting.pop(token, ()):
            self._wait_or_send(one)
