"""`perdure cluster status`: which servers there are, and who owns how many shards."""

from __future__ import annotations

import click
from rich.console import Group as Lines
from rich.console import RenderableType

from perdure.cli.groups import Group
from perdure.cli.output import fields, table
from perdure.cli.session import Session, asks_service
from perdure_proto.cluster import ClusterAnswer

cluster: Group = Group(name="cluster", help="Look at the servers.")

_UNOWNED = -1


@cluster.command()
@click.option("--shards", is_flag=True, help="Say of each server which shards it owns.")
@asks_service
async def status(session: Session, /, shards: bool) -> None:
    """Say which servers there are, and how the shards are spread over them."""
    answer = await session.service.cluster()
    unowned = answer.owners.count(_UNOWNED)
    head = fields([("servers", str(len(answer.members))), ("shards", str(answer.shards))])
    columns = ["SERVER", "ADDRESS", "VERSION", "STATE", "SHARDS"]
    members = table(*columns, *(["OWNS"] if shards else []))
    for number, member in enumerate(answer.members):
        owned = answer.owners.count(number)
        row = [member.server, member.address, member.version, "leaving" if member.leaving else "alive", str(owned)]
        members.add_row(*row, *([ranges(answer, number)] if shards else []))
    lines: list[RenderableType] = [head, members] if answer.members else [head]
    if unowned:
        lines.append(f"{unowned} shards have no owner now: what is in them waits for a server to take them")
    session.output.result(answer, Lines(*lines))


def ranges(answer: ClusterAnswer, owner: int) -> str:
    """The shards of a server, those in a row together.

    >>> ranges(ClusterAnswer(shards=5, members=(), owners=(0, 0, 1, 0, 1)), 0)
    '0-1, 3'
    """
    found: list[list[int]] = []
    for shard_id, each in enumerate(answer.owners):
        if each != owner:
            continue
        if found and found[-1][-1] == shard_id - 1:
            found[-1][1:] = [shard_id]
        else:
            found.append([shard_id])
    return ", ".join("-".join(map(str, each)) for each in found)
