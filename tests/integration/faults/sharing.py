"""Who owns what, as real servers say it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec

from perdure_proto.cluster import ClusterAnswer
from perdure_server.cluster.rendezvous import assignment
from tests.processes import ServerProcess

PATIENCE_SECONDS = 30.0
_answers = msgspec.json.Decoder(ClusterAnswer)


async def cluster_of(server: ServerProcess) -> ClusterAnswer:
    """Who owns what, as a server sees it."""
    async with aiohttp.ClientSession() as session, session.get(f"{server.address}/api/v1/cluster") as answer:
        return _answers.decode(await answer.read())


async def until_shared(servers: Sequence[ServerProcess]) -> None:
    """Waits until these servers, and only these, own all shards between them, and each says so."""
    names = {server.name for server in servers}
    async with asyncio.timeout(PATIENCE_SECONDS):
        for server in servers:
            while not is_shared(await cluster_of(server), names):
                pass


def is_shared(answer: ClusterAnswer, names: set[str]) -> bool:
    """Whether only these are there, and each shard is with the one whom the hash names."""
    owners = [answer.members[index].server if index >= 0 else "" for index in answer.owners]
    return names == {member.server for member in answer.members} and owners == list(
        assignment(answer.shards, sorted(names))
    )
