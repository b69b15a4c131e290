"""`perdure task-queue describe`: who polls a queue, and what waits in it."""

from __future__ import annotations

import click
from rich.console import Group as Lines

from perdure.cli.groups import Group
from perdure.cli.output import fields, instant, table
from perdure.cli.session import Session, asks_service

task_queue: Group = Group(name="task-queue", help="Look at task queues.", later=("list", "pause", "unpause", "config"))


@task_queue.command()
@click.argument("name")
@asks_service
async def describe(session: Session, /, name: str) -> None:
    """Say who polls a queue, for which types, and how much waits."""
    answer = await session.service.task_queue(name)
    head = fields(
        [
            ("task queue", answer.name),
            ("workflow tasks waiting", str(answer.workflow_backlog)),
            ("activity tasks waiting", str(answer.activity_backlog)),
            ("workers", "" if answer.pollers else "none polls it: start one with 'perdure worker'"),
        ]
    )
    pollers = table("IDENTITY", "BUILD", "LAST SEEN", "WORKFLOWS", "ACTIVITIES")
    for poller in answer.pollers:
        types = (", ".join(poller.workflow_types), ", ".join(poller.activity_types))
        pollers.add_row(poller.identity, poller.build_id[:12], instant(poller.last_seen), *types)
    session.output.result(answer, Lines(head, pollers) if answer.pollers else head)
