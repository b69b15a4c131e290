"""Task queues: for each slot kind a backlog, those who wait, and the window that sends the rest to the database.

A window counts the tasks of types that some session names, another those that nobody names, so that types nobody
knows fill no room of the others. It must not know how sessions come and go.
"""

from __future__ import annotations

from perdure_server.matching.backlog import Backlog
from perdure_server.matching.exchange import ACTIVITY, WORKFLOW
from perdure_server.matching.rate import Rate
from perdure_server.matching.takers import Takers

REFILL_PAUSE_SECONDS = 1.0
REFILL_WORTHWHILE = 100


class KindQueue:
    """The queue of one (namespace, task queue, slot kind).

    `sticky_size` counts the tasks in sticky lanes of its sessions. `parked` means that the database may hold more;
    `accepted`, `refused` and `unnamed` count offers since the last refill began.
    """

    __slots__ = (
        "accepted",
        "backlog",
        "kind",
        "name",
        "namespace",
        "parked",
        "parked_unnamed",
        "rate",
        "refill_at",
        "refilling",
        "refused",
        "sticky_size",
        "takers",
        "unnamed",
        "window",
    )

    def __init__(self, namespace: str, name: str, slot: int, window: int) -> None:
        self.namespace = namespace
        self.name = name
        self.kind = "activity" if slot == ACTIVITY else "workflow"
        self.window = window
        self.backlog = Backlog()
        self.takers = Takers(slot)
        self.rate: Rate | None = None
        self.sticky_size = 0
        self.parked = False
        self.parked_unnamed = False
        self.refilling = False
        self.refill_at = 0.0
        self.accepted = 0
        self.refused = 0
        self.unnamed = 0

    def __len__(self) -> int:
        return len(self.backlog) + self.sticky_size

    def learn(self, types: frozenset[str]) -> None:
        """A session names these types: what was parked while nobody did may be of them."""
        self.backlog.name(types)
        self.parked = self.parked or (self.parked_unnamed and bool(types))

    def admits(self, type_name: str, *, paged: bool) -> bool:
        """Whether there is room for one more; if not, it is remembered that the engine parks it.

        While tasks are parked, new ones get half the window, and the other half is for what is `paged` back: else a
        stream of new tasks would keep the window full, and what is parked would never come back.
        """
        if self.backlog.lane_of(type_name):
            room = self.window if paged or not (self.parked or self.refilling) else self.window / 2
            admitted = self.backlog.named_size + self.sticky_size < room
            self.parked = self.parked or not admitted
        else:
            room = self.window if paged or not (self.parked_unnamed or self.refilling) else self.window / 2
            admitted = self.backlog.unnamed_size < room
            self.unnamed += 1
            self.parked_unnamed = self.parked_unnamed or not admitted
        self.refused += not admitted
        return admitted

    def room(self, now: float) -> int:
        """How many parked tasks to ask for now: none while a refill runs, or the queue is above half its window."""
        if self.refilling or now < self.refill_at:
            return 0
        named, unnamed = self.backlog.named_size + self.sticky_size, self.backlog.unnamed_size
        half = self.window / 2
        if not self.backlog.names:
            return self.window - unnamed if (self.parked or self.parked_unnamed) and unnamed < half else 0
        # While nothing of unnamed types waits here, their empty window says nothing of what the next page holds.
        parked = self.parked or (self.parked_unnamed and not unnamed)
        room = self.window - named if parked and named < half else 0
        room_unnamed = self.window - unnamed if self.parked_unnamed and 0 < unnamed < half else 0
        return max(room, room_unnamed)

    def refill_begins(self) -> tuple[bool, bool]:
        """Forget what is known of parked tasks: the refill shows whether there are more. Returns what was known."""
        known = (self.parked, self.parked_unnamed)
        self.refilling, self.parked, self.parked_unnamed = True, False, False
        self.accepted = self.refused = self.unnamed = 0
        return known

    def refill_ends(self, known: tuple[bool, bool], room: int, now: float) -> None:
        """Only a refill that brought nothing says that nothing is parked.

        Offers of others are counted as brought too: that costs one more look. Types that nobody names are looked for
        as long as some are brought; behind others they come with those. A refill that brought little is followed by a
        pause, so that a busy queue does not ask all the time.
        """
        self.refilling = False
        if self.accepted or self.refused:
            self.parked = self.parked or any(known)
            self.parked_unnamed = self.parked_unnamed or (known[1] and self.unnamed > 0)
        if self.accepted < min(room, REFILL_WORTHWHILE):
            self.refill_at = now + REFILL_PAUSE_SECONDS

    @property
    def idle(self) -> bool:
        """Nothing is known of it that would be missed."""
        return not (len(self) or self.takers.groups or self.parked or self.parked_unnamed or self.refilling)


class TaskQueue:
    """The two kinds of one task queue, in the order of slots, and nothing else: sessions are counted by takers."""

    __slots__ = ("kinds", "name", "namespace")

    def __init__(self, namespace: str, name: str, window: int) -> None:
        self.namespace = namespace
        self.name = name
        self.kinds = (
            KindQueue(namespace, name, WORKFLOW, window),
            KindQueue(namespace, name, ACTIVITY, window),
        )


class TaskQueues:
    """All queues by namespace and name, made when they are first spoken of."""

    __slots__ = ("_window", "by_name")

    def __init__(self, window: int) -> None:
        self._window = window
        self.by_name: dict[tuple[str, str], TaskQueue] = {}

    def get(self, namespace: str, name: str) -> TaskQueue:
        """The queue of this name."""
        queue = self.by_name.get((namespace, name))
        if queue is None:
            queue = self.by_name[namespace, name] = TaskQueue(namespace, name, self._window)
        return queue

    def forget_idle(self) -> None:
        """Drop queues that nobody polls and nothing waits in."""
        idle = [key for key, queue in self.by_name.items() if all(kind.idle for kind in queue.kinds)]
        for key in idle:
            del self.by_name[key]
