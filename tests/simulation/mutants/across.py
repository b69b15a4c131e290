"""Across executions: lanes, keys, and what a closed run owes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from perdure_server.engine import engine, inbox, outbox, transactor
from tests.simulation.mutants.replace import replace


def lanes_without_repeats() -> None:
    """What one run tells another is not sent again after a failure."""

    async def once(self: Any, run: Any, lane: Any) -> None:
        try:
            await real(self, run, lane)
        except Exception:  # noqa: BLE001 - the mutant forgets whatever went wrong
            run.owing.discard(lane.popleft().key)

    real = outbox.Outbox._send
    replace(outbox.Outbox, "_send", once)


def lanes_without_order() -> None:
    """Each delivery leaves at once, in a lane of its own."""

    class OwnLane(outbox.LaneKey):
        """A key that is like no other."""

        def __hash__(self) -> int:
            return hash(id(self))

        def __eq__(self, other: object) -> bool:
            return self is other

    replace(outbox, "LaneKey", OwnLane)


def deliveries_without_keys() -> None:
    """A receiver does not know what it has seen: each delivery has another request id."""
    numbers = count()
    replace(inbox.Source, "request_id", lambda self, event_id: f"{self.run_id}:{event_id}:{next(numbers)}")


def closed_runs_owe_nothing() -> None:
    """A run that closes takes no leave of parent, children and targets that would outlive its server."""
    replace(transactor, "farewell", lambda _: iter(()))


def no_leave_taken() -> None:
    """A run that closes tells nobody."""
    replace(engine, "farewell", lambda _: iter(()))


def answers_before_the_receiver_commits() -> None:
    """A delivery counts as taken before it is durable."""
    real = inbox.Inbox.__init__

    def make(self: inbox.Inbox, its: Any, *others: Any) -> None:
        real(self, its, *others)
        self._engine = _Hasty(its)  # type: ignore[assignment]

    replace(inbox.Inbox, "__init__", make)


class _Hasty:
    """An engine that acknowledges at once."""

    def __init__(self, its: Any) -> None:
        self._its = its

    def __getattr__(self, name: str) -> Any:
        return getattr(self._its, name)

    async def acknowledged(self, *_: Any) -> None:
        return


def children_closed_by_name() -> None:
    """A parent that closes ends whoever has the workflow id of its child."""
    replace(inbox, "_is_child", lambda *_: True)


def resets_do_not_wait() -> None:
    """A run that was reset begins before the children that it leaves behind are closed."""
    replace(engine, "must_wait", lambda _: False)


MUTANTS: tuple[Callable[[], None], ...] = (
    lanes_without_repeats,
    lanes_without_order,
    deliveries_without_keys,
    closed_runs_owe_nothing,
    no_leave_taken,
    answers_before_the_receiver_commits,
    children_closed_by_name,
    resets_do_not_wait,
)
