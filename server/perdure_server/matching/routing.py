"""Where a task goes: to the session that has its run cached, to an open exchange, or into the backlog.

A workflow task with a sticky session goes to that session's lane as long as the session is there; what it has not
taken when `sticky_schedule_to_start` is over, or when it falls silent, goes to the general queue. An exchange that
is open and knows a type means that nothing of that type waits, so a new task either meets an exchange or queues up;
but where the rate of a queue holds tasks back, they wait beside open exchanges until `release`.
It must not know how answers are made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from heapq import heapify, heappush
from itertools import count

from perdure_server.matching.backlog import Entry, priority_of
from perdure_server.matching.exchange import ACTIVITY, WORKFLOW, Exchange, slot_of
from perdure_server.matching.port import TaskRef
from perdure_server.matching.queues import KindQueue, TaskQueues
from perdure_server.matching.sessions import WorkerSession

NO_LANE: list[Entry] = []
"""Activities have no sticky lane; nothing is ever put in here."""


class Router:
    """Routes tasks. `on_filled` is told of the first task of a parked poll, `on_drained` of a queue to refill."""

    def __init__(
        self, queues: TaskQueues, sessions: dict[str, WorkerSession], clock: Callable[[], float], sticky_for: float
    ) -> None:
        self._by_name = queues.by_name
        self._queues = queues
        self._sessions = sessions
        self._clock = clock
        self._sticky_for = sticky_for
        self._arrivals = count()
        self.laned: dict[WorkerSession, None] = {}
        self.on_filled: Callable[[Exchange], None] = _nobody_listens
        self.on_drained: Callable[[KindQueue], None] = _nobody_listens

    def arrival(self) -> int:
        """The next arrival number, of a task or an exchange."""
        return next(self._arrivals)

    def offer(self, ref: TaskRef, *, paged: bool = False) -> bool:
        """Route a new task, or one that is paged back. False: no room, the engine keeps it."""
        queue = self._by_name.get((ref.namespace, ref.task_queue)) or self._queues.get(ref.namespace, ref.task_queue)
        slot = ACTIVITY if ref.kind == "activity" else WORKFLOW
        kind = queue.kinds[slot]
        arrival = next(self._arrivals)
        if ref.sticky_session and (session := self._sticky_of(ref)) is not None:
            accepted = self._to_session(session, ref, arrival) or (
                kind.admits(ref.type_name, paged=paged) and self._to_lane(session, ref, arrival)
            )
        elif self._to_exchange(kind, slot, ref, arrival):
            accepted = True
        elif accepted := kind.admits(ref.type_name, paged=paged):
            kind.backlog.add(ref, arrival)
        kind.accepted += accepted
        return accepted

    def put_back(self, entry: Entry) -> None:
        """Route a task again that was assigned in vain: it keeps its place, and needs no room."""
        priority, _, arrival, ref = entry
        kind = self._queues.get(ref.namespace, ref.task_queue).kinds[slot_of(ref)]
        if ref.sticky_session:
            session = self._sticky_of(ref)
            if session is not None:
                _ = self._to_session(session, ref, arrival) or self._to_lane(session, ref, arrival)
                return
            # In a sticky heap the place was an instant; it has waited, so it goes before its priority.
            entry = (priority, kind.backlog.turns.now(priority), arrival, ref)
        if not self._to_exchange(kind, slot_of(ref), ref, arrival):
            kind.backlog.push(entry)

    def pull(self, exchange: Exchange) -> None:
        """Assign what waits, up to the free slots."""
        session = exchange.session
        for slot in (WORKFLOW, ACTIVITY):
            kind = session.kinds[slot]
            room = self._allowed(kind, exchange.free[slot])
            lane = session.sticky if slot == WORKFLOW else NO_LANE
            if not room or not (lane or kind.backlog.lanes):
                continue
            in_lane = len(lane)
            entries = kind.backlog.pull(session.skills[slot], lane, room)
            kind.sticky_size -= in_lane - len(lane)
            exchange.free[slot] -= len(entries)
            exchange.entries.extend(entries)
            if kind.rate is not None:
                kind.rate.spend(len(entries))
            if kind.parked or kind.parked_unnamed:
                self.on_drained(kind)

    def release(self, kind: KindQueue) -> None:
        """A queue with a rate: what may leave by now goes to those who wait."""
        for group in list(kind.takers.groups.values()):
            while kind.backlog.lanes and (head := group.head()) is not None:
                exchange = head[3]
                before = len(exchange.entries)
                self.pull(exchange)
                if len(exchange.entries) == before:
                    break
                self._note_filled(exchange)

    def _allowed(self, kind: KindQueue, room: int) -> int:
        """How many of so many may leave now."""
        return room if kind.rate is None or not room else min(room, kind.rate.available(self._clock()))

    def open(self, exchange: Exchange) -> None:
        """From now on tasks may be assigned to the exchange."""
        exchange.open = True
        exchange.session.waiting[exchange] = None
        for slot in (WORKFLOW, ACTIVITY):
            if exchange.free[slot]:
                exchange.session.groups[slot].add(exchange)
                exchange.grouped[slot] = True

    def close(self, exchange: Exchange) -> None:
        """No more tasks for the exchange."""
        exchange.open = False
        del exchange.session.waiting[exchange]
        for slot in (WORKFLOW, ACTIVITY):
            if exchange.grouped[slot]:
                exchange.session.groups[slot].removed()
                exchange.grouped[slot] = False

    def empty_lane(self, session: WorkerSession) -> None:
        """The session is not there: its lane goes to the general queue."""
        entries, session.sticky = sorted(session.sticky), []
        self.laned.pop(session, None)
        session.kinds[WORKFLOW].sticky_size -= len(entries)
        for entry in entries:
            self._unstick(entry)

    def withdraw(self, shards: Collection[int]) -> None:
        """What waits of these shards is forgotten; what is assigned already turns out to be stale."""
        for queue in self._by_name.values():
            for kind in queue.kinds:
                kind.backlog.withdraw(shards)
        for session in list(self.laned):
            kept = [entry for entry in session.sticky if entry[3].shard_id not in shards]
            session.kinds[WORKFLOW].sticky_size -= len(session.sticky) - len(kept)
            heapify(kept)
            session.sticky = kept
            if not kept:
                del self.laned[session]

    def expire_lanes(self, now: float) -> None:
        """What its session has not taken in time goes to the general queue."""
        for session in [session for session in self.laned if session.sticky_due <= now]:
            late = sorted(entry for entry in session.sticky if entry[1] <= now)
            session.sticky = [entry for entry in session.sticky if entry[1] > now]
            heapify(session.sticky)
            session.kinds[WORKFLOW].sticky_size -= len(late)
            if session.sticky:
                session.sticky_due = min(entry[1] for entry in session.sticky)
            else:
                del self.laned[session]
            for entry in late:
                self._unstick(entry)

    def _unstick(self, entry: Entry) -> None:
        ref = entry[3]
        ref.sticky_session = ""
        turn = self._queues.get(ref.namespace, ref.task_queue).kinds[WORKFLOW].backlog.turns.now(entry[0])
        self.put_back((entry[0], turn, entry[2], ref))

    def _sticky_of(self, ref: TaskRef) -> WorkerSession | None:
        """The session that has the run cached, if it is there; if not, the task is anybody's."""
        session = self._sessions.get(ref.sticky_session)
        if (
            session is None
            or session.quiet
            or session.queue != ref.task_queue
            or session.namespace != ref.namespace
            or not session.skills[WORKFLOW].covers(ref.type_name)
        ):
            ref.sticky_session = ""
            return None
        return session

    def _to_session(self, session: WorkerSession, ref: TaskRef, arrival: int) -> bool:
        """A respond in progress first: then the next task of a workflow comes with the answer to its last."""
        taker: Exchange | None = None
        for exchange in session.waiting:
            if exchange.free[WORKFLOW] and (exchange.front or taker is None):
                taker = exchange
                if exchange.front:
                    break
        if taker is None:
            return False
        self._assign(taker, (priority_of(ref), self._clock(), arrival, ref), WORKFLOW)
        return True

    def _to_lane(self, session: WorkerSession, ref: TaskRef, arrival: int) -> bool:
        due = self._clock() + self._sticky_for
        if not session.sticky:
            session.sticky_due = due
            self.laned[session] = None
        heappush(session.sticky, (priority_of(ref), due, arrival, ref))
        session.kinds[WORKFLOW].sticky_size += 1
        return True

    def _to_exchange(self, kind: KindQueue, slot: int, ref: TaskRef, arrival: int) -> bool:
        backlog = kind.backlog
        if backlog.lanes and backlog.lane_of(ref.type_name) in backlog.lanes:
            return False
        exchange = kind.takers.find(ref.type_name)
        if exchange is None or not self._allowed(kind, 1):
            return False
        if kind.rate is not None:
            kind.rate.spend(1)
        priority = priority_of(ref)
        self._assign(exchange, (priority, backlog.turns.now(priority), arrival, ref), slot)
        return True

    def _assign(self, exchange: Exchange, entry: Entry, slot: int) -> None:
        exchange.assign(entry, slot)
        self._note_filled(exchange)

    def _note_filled(self, exchange: Exchange) -> None:
        if not (exchange.filled or exchange.front):
            exchange.filled = True
            self.on_filled(exchange)


def _nobody_listens(_: object) -> None:
    """Until the parts are put together."""
