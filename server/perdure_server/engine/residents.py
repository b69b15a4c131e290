"""The runs in memory: found by run or by workflow id, loaded once however many ask, dropped when not needed.

Law: what is in here is of our shards, so that whoever finds a run here need not ask whose it is. A run that has to be
read is asked for by the shard's tenure: a load that was under way when the shard was given away installs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from functools import partial

from perdure_proto.errors import Code, ServiceError
from perdure_proto.ids import shard_of
from perdure_server.engine.execution import Execution
from perdure_server.engine.namespaces import Namespaces
from perdure_server.engine.rebuild import rebuild
from perdure_server.engine.tenures import Tenures
from perdure_server.history.state import STATE_VERSION
from perdure_server.store.port import ExecutionRow, NamespaceRow, RunKey, Store, StoredRun


class Residents:
    """A cache of runs. `adopt` is called with each that was loaded."""

    def __init__(self, store: Store, shards: int, tenures: Tenures, adopt: Callable[[Execution], None]) -> None:
        self.by_run: dict[str, Execution] = {}
        self.current: dict[tuple[str, str], Execution] = {}
        self.namespaces = Namespaces(store)
        self.owned = tenures.owned
        self._store = store
        self._tenures = tenures
        self.shards = shards
        self._adopt = adopt
        self._loading: dict[RunKey, asyncio.Future[Execution | None]] = {}

    def learn(self, namespaces: Iterable[NamespaceRow]) -> None:
        """These namespaces are there."""
        self.namespaces.learn(namespaces)

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

    def of_shards(self, shards: Collection[int]) -> list[Execution]:
        """The runs of these shards."""
        return [execution for execution in self.by_run.values() if execution.key.shard_id in shards]

    def forget_loads(self, shards: Collection[int]) -> None:
        """Nobody joins a load that began in a tenure that is over."""
        for key in [key for key in self._loading if key.shard_id in shards]:
            del self._loading[key]

    async def find(self, namespace: str, workflow_id: str, run_id: str = "") -> Execution:
        """The run named, or the current one. Raises `WORKFLOW_NOT_FOUND`, or `WRONG_OWNER` where others know it."""
        execution = self.by_run.get(run_id) if run_id else self.current.get((namespace, workflow_id))
        if execution is None:
            execution = await self._look_up(namespace, workflow_id, run_id)
        if execution is None or execution.workflow != (namespace, workflow_id):
            which = f"run {run_id!r} of workflow {workflow_id!r}" if run_id else f"workflow {workflow_id!r}"
            raise ServiceError(Code.WORKFLOW_NOT_FOUND, f"no {which} in namespace {namespace!r}")
        return execution

    async def find_run(self, shard_id: int, run_id: str) -> Execution | None:
        """A run by its key. Raises `WRONG_OWNER`."""
        execution = self.by_run.get(run_id)
        return execution if execution is not None else await self.load(RunKey(shard_id, run_id))

    async def current_row(self, namespace: str, workflow_id: str) -> ExecutionRow | None:
        """The newest run of a workflow id of ours, as stored."""
        row = await self.namespaces.get(namespace)
        shard_id = self.shard_of(namespace, workflow_id)
        tenure = self._tenures.tenure(shard_id)
        found = await self._store.current_run(row.namespace_id, shard_id, workflow_id)
        self._tenures.confirm(shard_id, tenure)
        return found

    async def load(self, key: RunKey, *, is_current: bool | None = None) -> Execution | None:
        """A run from the store; those who ask meanwhile get the same."""
        self._tenures.check(key.shard_id)
        loading = self._loading.get(key)
        if loading is None:
            loading = asyncio.ensure_future(self._load(key, is_current=is_current))
            self._loading[key] = loading
            loading.add_done_callback(partial(self._loaded, key))
        return await asyncio.shield(loading)

    async def glance(self, namespace: str, workflow_id: str) -> Execution | None:
        """The newest run of a workflow id that may be another server's, as stored: to be looked at, never changed."""
        row = await self.namespaces.get(namespace)
        shard_id = self.shard_of(namespace, workflow_id)
        current = await self._store.current_run(row.namespace_id, shard_id, workflow_id)
        stored = None if current is None else await self._store.load_run(shard_id, current.run_id, STATE_VERSION)
        if stored is None:
            return None
        execution = rebuild(stored, namespace)
        execution.is_lost = True
        return execution

    def install(self, stored: StoredRun, namespace: str, *, is_current: bool) -> Execution:
        """A run that was loaded in this tenure becomes resident, unless it is already."""
        self._tenures.check(stored.key.shard_id)
        known = self.by_run.get(stored.key.run_id)
        if known is not None:
            if is_current:  # as it was when it was read: whoever began meanwhile stays
                self.current.setdefault(known.workflow, known)
            return known
        execution = rebuild(stored, namespace)
        self.add(execution, is_current=is_current)
        self._adopt(execution)
        return execution

    async def _load(self, key: RunKey, *, is_current: bool | None) -> Execution | None:
        tenure = self._tenures.tenure(key.shard_id)
        stored = await self._store.load_run(key.shard_id, key.run_id, STATE_VERSION)
        if stored is None:
            return None
        if is_current is None:
            row = await self._store.current_run(stored.namespace_id, key.shard_id, stored.workflow_id)
            is_current = row is not None and row.run_id == key.run_id
        namespace = await self.namespaces.name_of(stored.namespace_id)
        self._tenures.confirm(key.shard_id, tenure)
        return self.install(stored, namespace, is_current=is_current)

    def _loaded(self, key: RunKey, loading: asyncio.Future[Execution | None]) -> None:
        if self._loading.get(key) is loading:
            del self._loading[key]

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
