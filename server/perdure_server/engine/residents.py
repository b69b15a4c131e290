"""The runs in memory: found by run or by workflow id, loaded once however many ask, dropped when not needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from msgspec import structs

from perdure_proto.errors import Code, ServiceError
from perdure_proto.ids import shard_of
from perdure_server.engine.execution import Execution
from perdure_server.engine.rebuild import rebuild
from perdure_server.history.state import STATE_VERSION
from perdure_server.store.port import ExecutionRow, NamespaceRow, RunKey, Store, StoredRun


def activities_of(namespace: str) -> str:
    """Where the standalone activities of a namespace live: no user can name it. Its id is negative in the store."""
    return f"{namespace}\0activities"


class Residents:
    """A cache of runs. `adopt` is called with each that was loaded."""

    def __init__(self, store: Store, shards: int, adopt: Callable[[Execution], None]) -> None:
        self.by_run: dict[str, Execution] = {}
        self.current: dict[tuple[str, str], Execution] = {}
        self.namespaces: dict[str, NamespaceRow] = {}
        self._names: dict[int, str] = {}
        self._activities: dict[str, NamespaceRow] = {}
        self._store = store
        self.shards = shards
        self._adopt = adopt
        self._loading: dict[str, asyncio.Future[Execution | None]] = {}

    def learn(self, namespaces: Iterable[NamespaceRow]) -> None:
        """Namespaces are few and always in memory. Each has another, in which its standalone activities live."""
        for row in namespaces:
            self.namespaces[row.name] = row
            self._names[row.namespace_id] = row.name
            apart = structs.replace(row, name=activities_of(row.name), namespace_id=-row.namespace_id)
            self._activities[apart.name] = apart
            self._names[apart.namespace_id] = apart.name

    def namespace(self, name: str) -> NamespaceRow:
        """The namespace of a name. Raises `NAMESPACE_NOT_FOUND`."""
        try:
            return self.namespaces.get(name) or self._activities[name]
        except KeyError:
            message = f"no namespace {name!r}: create it with `perdure namespace create {name}`"
            raise ServiceError(Code.NAMESPACE_NOT_FOUND, message) from None

    def name_of(self, namespace_id: int) -> str:
        """The name of a namespace."""
        return self._names[namespace_id]

    def find_name(self, namespace_id: int) -> str | None:
        """The same for a number that a caller brings."""
        return self._names.get(namespace_id)

    def shard_of(self, namespace: str, workflow_id: str) -> int:
        """The shard of a workflow id."""
        return shard_of(namespace, workflow_id, self.shards)

    def has_shard(self, shard_id: int) -> bool:
        """Whether there is a shard of this number."""
        return 0 <= shard_id < self.shards

    def add(self, execution: Execution, *, is_current: bool) -> None:
        """A run that begins, or was loaded."""
        self.by_run[execution.run_id] = execution
        if is_current:
            self.current[execution.workflow] = execution

    def remove(self, execution: Execution) -> None:
        """A run that memory does not need, or must not trust."""
        if self.by_run.get(execution.run_id) is execution:
            del self.by_run[execution.run_id]
        if self.current.get(execution.workflow) is execution:
            del self.current[execution.workflow]

    async def find(self, namespace: str, workflow_id: str, run_id: str = "") -> Execution:
        """The run named, or the current one. Raises `WORKFLOW_NOT_FOUND`."""
        execution = self.by_run.get(run_id) if run_id else self.current.get((namespace, workflow_id))
        if execution is None:
            execution = await self._look_up(namespace, workflow_id, run_id)
        if execution is None or execution.workflow != (namespace, workflow_id):
            which = f"run {run_id!r} of workflow {workflow_id!r}" if run_id else f"workflow {workflow_id!r}"
            raise ServiceError(Code.WORKFLOW_NOT_FOUND, f"no {which} in namespace {namespace!r}")
        return execution

    async def find_run(self, shard_id: int, run_id: str) -> Execution | None:
        """A run by its key."""
        execution = self.by_run.get(run_id)
        return execution if execution is not None else await self.load(RunKey(shard_id, run_id))

    async def current_row(self, namespace: str, workflow_id: str) -> ExecutionRow | None:
        """The newest run of a workflow id, as stored."""
        namespace_id = self.namespace(namespace).namespace_id
        return await self._store.current_run(namespace_id, self.shard_of(namespace, workflow_id), workflow_id)

    async def load(self, key: RunKey, *, is_current: bool | None = None) -> Execution | None:
        """A run from the store; those who ask meanwhile get the same."""
        loading = self._loading.get(key.run_id)
        if loading is None:
            loading = asyncio.ensure_future(self._load(key, is_current=is_current))
            self._loading[key.run_id] = loading
            loading.add_done_callback(lambda _: self._loading.pop(key.run_id, None))
        return await asyncio.shield(loading)

    def install(self, stored: StoredRun, *, is_current: bool) -> Execution:
        """A loaded run becomes resident, unless it is already."""
        known = self.by_run.get(stored.key.run_id)
        if known is not None:
            if is_current:  # as it was when it was read: whoever began meanwhile stays
                self.current.setdefault(known.workflow, known)
            return known
        execution = rebuild(stored, self.name_of(stored.namespace_id))
        self.add(execution, is_current=is_current)
        self._adopt(execution)
        return execution

    async def _load(self, key: RunKey, *, is_current: bool | None) -> Execution | None:
        stored = await self._store.load_run(key.shard_id, key.run_id, STATE_VERSION)
        if stored is None:
            return None
        if is_current is None:
            row = await self._store.current_run(stored.namespace_id, key.shard_id, stored.workflow_id)
            is_current = row is not None and row.run_id == key.run_id
        return self.install(stored, is_current=is_current)

    async def _look_up(self, namespace: str, workflow_id: str, run_id: str) -> Execution | None:
        shard_id = self.shard_of(namespace, workflow_id)
        if run_id:
            return await self.load(RunKey(shard_id, run_id)) if is_uuid(run_id) else None
        row = await self.current_row(namespace, workflow_id)
        if row is None:
            return None
        found = self.current.get((namespace, workflow_id))
        return found if found is not None else await self.load(RunKey(shard_id, row.run_id), is_current=True)


_UUID_LENGTH = 36


def is_uuid(text: str) -> bool:
    """Whether a text can be a run id at all."""
    return len(text) == _UUID_LENGTH and all(char in "0123456789abcdef-" for char in text)
