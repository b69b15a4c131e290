"""Servers that come, leave, die, freeze and wake in any order: once it is quiet, each shard has the owner that the hash
names among those who live.
"""

from __future__ import annotations

import random

import pytest

from tests.integration.store.members import LEASE, Node, Town

STEPS = 10
NAMES = ["one", "two", "three", "four"]


async def come(town: Town, chance: random.Random) -> None:
    absent = [name for name in NAMES if name not in {node.name for node in town.nodes if node.is_up or node.is_frozen}]
    if absent:
        await (await town.node(chance.choice(absent))).start()


async def leave(town: Town, chance: random.Random) -> None:
    await chance.choice(town.up).leave()


async def die(town: Town, chance: random.Random) -> None:
    await chance.choice(town.up).crash()


async def freeze(town: Town, chance: random.Random) -> None:
    if len(town.up) > 1:
        await chance.choice(town.up).freeze()


async def wake(town: Town, chance: random.Random) -> None:
    """It goes on, unless it was replaced: then it ends."""
    for node in [node for node in town.nodes if node.is_frozen][:1]:
        node.thaw()
        await node.look()
        if node.ownership.lost:
            await end(node)


async def cut(town: Town, chance: random.Random) -> None:
    chance.choice(town.up).presence._member.close()


async def wait(town: Town, chance: random.Random) -> None:
    await town.pass_time(chance.random() * 1.5 * LEASE.total_seconds())


async def end(node: Node) -> None:
    await node.running
    await node.ownership.close()
    node.is_up = False


@pytest.mark.parametrize("seed", range(6))
async def test_every_shard_has_its_owner_once_it_is_quiet(town: Town, seed: int) -> None:
    """Nobody ever gains what another works on, and in the end the table, the maps and the holders are as hashed."""
    chance = random.Random(seed)
    for _ in range(STEPS):
        step = chance.choice([come, come, leave, die, freeze, wake, cut, wait]) if town.up else come
        await step(town, chance)
    while any(node.is_frozen for node in town.nodes):
        await wake(town, chance)
    if not town.up:
        await come(town, chance)
    await town.pass_time(3 * LEASE.total_seconds())
    for node in [node for node in town.up if node.ownership.lost]:
        await end(node)
    if not town.up:
        await come(town, chance)
        await town.pass_time(3 * LEASE.total_seconds())
    await town.quiet()
