"""Silence: what becomes of a session without an open request, and of one that leaves.

After `worker_quiet_max` it is quiet: its workflow tasks, its unacknowledged deliveries and its sticky lane are given
away. After `worker_lost_after` it is lost: its activities are, and it is forgotten. All deadlines lie in one wheel.
It must not know how requests are answered.
"""

from __future__ import annotations

from perdure_server.config import EngineSettings
from perdure_server.matching.deliveries import Deliveries
from perdure_server.matching.exchange import ACTIVITY, WORKFLOW
from perdure_server.matching.port import TaskSource, Times
from perdure_server.matching.routing import Router
from perdure_server.matching.sessions import UNKNOWN, Sessions, WorkerSession
from perdure_server.matching.wheel import Wheel


class Liveness:
    """Watches the sessions that have no open request."""

    __slots__ = ("_deliveries", "_lost_after", "_quiet_after", "_router", "_sessions", "_silent", "_source", "_times")

    def __init__(self, source: TaskSource, sessions: Sessions, times: Times, settings: EngineSettings) -> None:
        self._source = source
        self._sessions = sessions
        self._times = times
        self._quiet_after = settings.worker_quiet_max.total_seconds()
        self._lost_after = settings.worker_lost_after.total_seconds()
        self._silent: Wheel[WorkerSession] = Wheel()

    def attach(self, router: Router, deliveries: Deliveries) -> None:
        """Whom to tell."""
        self._router = router
        self._deliveries = deliveries

    def begins(self, session: WorkerSession) -> None:
        """A request of the session is open."""
        session.requests += 1
        session.quiet = False
        self._silent.drop(session)

    def ends(self, session: WorkerSession) -> None:
        """A request was answered, or its connection closed."""
        session.requests -= 1
        self.seen(session)

    def seen(self, session: WorkerSession) -> None:
        """A request was answered at once: silence begins anew."""
        session.last_seen = self._times.clock()
        if not (session.requests or session.gone):
            session.quiet = False
            self._silent.put(session, session.last_seen + self._quiet_after)

    def sweep(self, now: float) -> None:
        """Go on with the sessions whose silence has lasted."""
        for session in self._silent.due(now):
            if session.quiet:
                self._lost(session)
            else:
                self._quiet(session)

    def leave(self, session: WorkerSession) -> None:
        """The worker says goodbye: nothing more is delivered. What it still holds is nobody's."""
        self._silent.drop(session)
        self._give_away(session)
        self._lost(session)

    def _quiet(self, session: WorkerSession) -> None:
        self._silent.put(session, session.last_seen + self._lost_after)
        self._give_away(session)

    def _give_away(self, session: WorkerSession) -> None:
        session.quiet = True
        self._deliveries.give_back(session)
        self._router.empty_lane(session)
        given = [token for token, slot in session.holding.items() if slot == WORKFLOW]
        unknown = [token for token, slot in session.holding.items() if slot == UNKNOWN]
        for token in given:
            del session.holding[token]
        self._source.quiet(session, given + unknown)

    def _lost(self, session: WorkerSession) -> None:
        held = [token for token, slot in session.holding.items() if slot in (ACTIVITY, UNKNOWN)]
        session.holding.clear()
        self._sessions.remove(session)
        for exchange in list(session.exchanges.values()):
            self._deliveries.end(exchange)
        self._source.lost(session, held)
