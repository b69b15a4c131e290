"""Namespaces in memory: few, and learnt anew when a name is asked for that nobody here has heard of.

Another server may have made it. Law: a name is refused only by a look at the table that began after it was asked for;
however many ask for however many names, the table is read only so often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

from msgspec import structs

from perdure_proto.errors import Code, ServiceError
from perdure_proto.ids import activities_of
from perdure_server.store.port import NamespaceRow, Store

_LOOKS_APART_SECONDS = 0.1


class Namespaces:
    """The namespaces of the cluster. Each has another, in which its standalone activities live."""

    def __init__(self, store: Store) -> None:
        self.by_name: dict[str, NamespaceRow] = {}
        self.on_learnt: Callable[[Collection[NamespaceRow]], None] = lambda _: None
        self._store = store
        self._names: dict[int, str] = {}
        self._activities: dict[str, NamespaceRow] = {}
        self._next_look: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")

    def learn(self, namespaces: Iterable[NamespaceRow]) -> None:
        """These are there."""
        rows = list(namespaces)
        self.on_learnt(rows)
        for row in rows:
            self.by_name[row.name] = row
            self._names[row.namespace_id] = row.name
            apart = structs.replace(row, name=activities_of(row.name), namespace_id=-row.namespace_id)
            self._activities[apart.name] = apart
            self._names[apart.namespace_id] = apart.name

    async def get(self, name: str) -> NamespaceRow:
        """The namespace of a name. Raises `NAMESPACE_NOT_FOUND`."""
        row = self._find(name)
        if row is None:
            await self.look_again()
            row = self._find(name)
        if row is None:
            message = f"no namespace {name!r}: create it with `perdure namespace create {name}`"
            raise ServiceError(Code.NAMESPACE_NOT_FOUND, message)
        return row

    def find_name(self, namespace_id: int) -> str | None:
        """The name of a namespace, if it was heard of."""
        return self._names.get(namespace_id)

    async def name_of(self, namespace_id: int) -> str:
        """The name of a namespace that runs are stored of."""
        if namespace_id not in self._names:
            await self.look_again()
        return self._names[namespace_id]

    async def look_again(self) -> None:
        """Reads the table: a look that begins after this call, together with all that ask before it begins."""
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look())
        await asyncio.shield(self._next_look)

    def _find(self, name: str) -> NamespaceRow | None:
        return self.by_name.get(name) or self._activities.get(name)

    async def _look(self) -> None:
        clock: Callable[[], float] = asyncio.get_running_loop().time
        try:
            await asyncio.sleep(max(0.0, self._looked_at + _LOOKS_APART_SECONDS - clock()))
        finally:
            self._looked_at, self._next_look = clock(), None
        self.learn(await self._store.namespaces())
