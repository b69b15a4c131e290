"""Worker sessions: what each was given, has acknowledged and holds, and the registry that admits them.

Delivered is not received: what stands in an answer counts only once its sequence is acknowledged, and acknowledged
comes before anything else in a request. A session belongs to one task queue. It must not know queues' contents.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perdure_proto import PROTOCOL_VERSION
from perdure_proto.errors import RETRYABLE, Code, ServiceError
from perdure_proto.ids import ID_LENGTH_MAX
from perdure_proto.tasks import (
    ActivityHeartbeat,
    ActivityTransaction,
    AnyCompletion,
    AnyPush,
    CompletionResult,
    PollRequest,
    RespondRequest,
    TaskReturned,
    WorkerInfo,
)
from perdure_server.matching.backlog import Entry, Skill
from perdure_server.matching.exchange import ACTIVITY, WORKFLOW, Delivery, Exchange
from perdure_server.matching.limits import MatchingLimits, exhausted
from perdure_server.matching.port import TaskRef, TaskSource
from perdure_server.matching.queues import KindQueue, TaskQueue, TaskQueues
from perdure_server.matching.sharing import Sharing
from perdure_server.matching.takers import Group

UNKNOWN = -1
"""The slot of a token that the worker listed as held: only the engine can tell."""
_GOES_ON = (ActivityHeartbeat, ActivityTransaction)
"""What does not end the task that it speaks of."""


class WorkerSession:
    """One session. `sticky` is its lane: a heap of the tasks of runs that it has cached."""

    __slots__ = (
        "deliveries",
        "done",
        "exchanges",
        "gone",
        "groups",
        "holding",
        "id",
        "kinds",
        "last_seen",
        "limits",
        "namespace",
        "pushes",
        "queue",
        "quiet",
        "requests",
        "returned",
        "skills",
        "sticky",
        "sticky_due",
        "waiting",
        "worker",
    )

    def __init__(self, id: str, queue: TaskQueue, worker: WorkerInfo, limits: MatchingLimits) -> None:
        self.id = id
        self.namespace = queue.namespace
        self.queue = queue.name
        self.worker = worker
        self.limits = limits
        self.kinds: tuple[KindQueue, KindQueue] = queue.kinds
        self.skills = (
            Skill(frozenset(filter(None, worker.workflow_types)), worker.dynamic_workflows),
            Skill(frozenset(filter(None, worker.activity_types)), worker.dynamic_activities),
        )
        self.groups: tuple[Group, Group] = (
            queue.kinds[WORKFLOW].takers.join(self.skills[WORKFLOW]),
            queue.kinds[ACTIVITY].takers.join(self.skills[ACTIVITY]),
        )
        self.exchanges: dict[int, Exchange] = {}
        self.waiting: dict[Exchange, None] = {}
        self.deliveries: dict[int, Delivery] = {}
        self.done: dict[int, None] = {}
        self.holding: dict[str, int] = dict.fromkeys(worker.held, UNKNOWN)
        self.returned: dict[str, None] = {}
        self.pushes: list[AnyPush] = []
        self.sticky: list[Entry] = []
        self.sticky_due = 0.0
        self.requests = 0
        self.last_seen = 0.0
        self.quiet = False
        self.gone = False

    @property
    def slots_max(self) -> int:
        """The most slots that one request may ask for."""
        return self.limits.slots_max

    def may_have(self, ref: TaskRef) -> bool:
        """Whether a workflow task can be handed to it now."""
        return (
            not (self.gone or self.quiet)
            and (self.namespace, self.queue) == (ref.namespace, ref.task_queue)
            and self.skills[WORKFLOW].covers(ref.type_name)
            and len(self.deliveries) < self.limits.answers_cached_max
        )

    def acknowledge(self, sequences: Iterable[int], source: TaskSource) -> None:
        """The worker has these answers: their tasks are its own now, and the answers need not be kept."""
        for sequence in sequences:
            delivery = self.deliveries.pop(sequence, None)
            if delivery is None:
                continue
            self.done[sequence] = None
            for token, slot in delivery.tokens.items():
                self.holding[token] = slot
                source.received(token, self)
        while len(self.done) > self.limits.sequences_remembered_max:
            del self.done[next(iter(self.done))]

    def take_pushes(self) -> tuple[AnyPush, ...]:
        """All pushes that wait: they leave with the answer, and stay with it when it is repeated."""
        pushes, self.pushes = tuple(self.pushes), []
        return pushes

    def completes(self, exchange: Exchange, completions: Iterable[AnyCompletion]) -> None:
        """These tasks are the worker's no more while their completions commit: silence cannot fail them."""
        for completion in completions:
            if not isinstance(completion, _GOES_ON):
                slot = self.holding.pop(completion.token, None)
                if slot is not None:
                    exchange.completing[completion.token] = slot
                if isinstance(completion, TaskReturned):
                    self._remember_returned(completion.token)

    def completed(
        self, exchange: Exchange, completions: Iterable[AnyCompletion], results: Iterable[CompletionResult]
    ) -> None:
        """What a completion could not do yet is held as before; what a heartbeat did not find is not held."""
        for completion, result in zip(completions, results, strict=False):
            if result.code in RETRYABLE and completion.token in exchange.completing:
                self.holding[completion.token] = exchange.completing[completion.token]
            elif result.code is Code.TASK_NOT_FOUND:
                self.holding.pop(completion.token, None)
        exchange.completing.clear()

    def lists(self, tokens: Sequence[str]) -> list[str]:
        """What the worker says that it works on: those of them that it has not handed back meanwhile.

        What an earlier list alone has named, and this one does not, may be of another server, and is forgotten.
        """
        held = [token for token in tokens if token not in self.returned]
        listed = dict.fromkeys(held, UNKNOWN)
        known = {token: slot for token, slot in self.holding.items() if slot != UNKNOWN}
        self.holding = {**listed, **known}
        return held

    def _remember_returned(self, token: str) -> None:
        """A list that was made before may name it still: then it would count as held, and nobody would do it."""
        self.returned[token] = None
        if len(self.returned) > self.limits.sequences_remembered_max:
            del self.returned[next(iter(self.returned))]

    def not_completed(self, exchange: Exchange) -> None:
        """The request failed as a whole: the worker holds what it held."""
        self.holding.update(exchange.completing)
        exchange.completing.clear()


class Sessions:
    """The sessions of this server by id."""

    __slots__ = ("_limits", "_queues", "_sharing", "_source", "by_id")

    def __init__(self, source: TaskSource, queues: TaskQueues, limits: MatchingLimits, sharing: Sharing) -> None:
        self._sharing = sharing
        self._source = source
        self._queues = queues
        self._limits = limits
        self.by_id: dict[str, WorkerSession] = {}

    def admit(self, namespace: str, queue: str, request: PollRequest | RespondRequest) -> WorkerSession:
        """The session of a request, made at its first; its acknowledgements are taken first of all."""
        session = self.by_id.get(request.session)
        if session is None:
            worker = request.worker if isinstance(request, PollRequest) else None
            if worker is None:
                raise ServiceError(
                    Code.SESSION_UNKNOWN,
                    f"no session {request.session!r} here: poll with `worker`, listing the tokens held",
                )
            return self._create(self._queues.get(namespace, queue), request.session, worker)
        if session.queue != queue or session.namespace != namespace:
            raise ServiceError(
                Code.INVALID_ARGUMENT, f"session {session.id!r} belongs to task queue {session.queue!r}: use another id"
            )
        session.acknowledge(request.acknowledged, self._source)
        return session

    def lists(self, session: WorkerSession, tokens: Sequence[str]) -> None:
        """The answer to `ListHeld`."""
        if len(tokens) > self._limits.tokens_held_max:
            raise exhausted("tokens_held_max", self._limits.tokens_held_max, "give workers fewer slots")
        self._source.held(session, session.lists(tokens))

    def remove(self, session: WorkerSession) -> None:
        """The session is gone; what it leaves behind is the caller's to give away."""
        session.gone = True
        del self.by_id[session.id]
        for kind, group, skill in zip(session.kinds, session.groups, session.skills, strict=True):
            kind.takers.part(group)
            kind.backlog.unname(skill.types)

    def _create(self, queue: TaskQueue, id: str, worker: WorkerInfo) -> WorkerSession:
        self._check(id, worker)
        session = self.by_id[id] = WorkerSession(id, queue, worker, self._limits)
        for kind, skill in zip(session.kinds, session.skills, strict=True):
            kind.learn(skill.types)
        if per_second := worker.max_task_queue_activities_per_second:
            self._sharing.name(queue.kinds[ACTIVITY], per_second)
        if worker.held:
            self._source.held(session, worker.held)
        return session

    def _check(self, id: str, worker: WorkerInfo) -> None:
        if worker.protocol_version != PROTOCOL_VERSION:
            raise ServiceError(
                Code.PROTOCOL_VERSION,
                f"the worker speaks protocol {worker.protocol_version}, this server {PROTOCOL_VERSION}: "
                "install versions that match",
            )
        if not 0 <= worker.max_task_queue_activities_per_second < float("inf"):
            raise ServiceError(Code.INVALID_ARGUMENT, "max_task_queue_activities_per_second must be a positive number")
        if not 0 < len(id) <= ID_LENGTH_MAX:
            raise ServiceError(Code.INVALID_ARGUMENT, f"a session id has 1 to {ID_LENGTH_MAX} characters")
        limits = self._limits
        if len(self.by_id) >= limits.sessions_max:
            raise exhausted("sessions_max", limits.sessions_max, "add servers, or run fewer worker processes")
        if len(worker.workflow_types) + len(worker.activity_types) > limits.types_max:
            raise exhausted("types_max", limits.types_max, "spread the types over several task queues")
        if len(worker.held) > limits.tokens_held_max:
            raise exhausted("tokens_held_max", limits.tokens_held_max, "give workers fewer slots")
