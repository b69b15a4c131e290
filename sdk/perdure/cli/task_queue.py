"""`perdure task-queue describe`: who polls a queue, and what waits in it."""

from __future__ import annotations

from collections.abc import Sequence

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
    """Say who polls a queue, for which types, and how much waits, at all servers together."""
    answer = await session.service.task_queue(name)
    head = fields(
        [
            ("task queue", answer.name),
            ("workflow tasks waiting", str(answer.workflow_backlog)),
            ("activity tasks waiting", str(answer.activity_backlog)),
            (
                "activities a second",
                f"at most {answer.activities_per_second:g}" if answer.activities_per_second else "",
            ),
            ("servers", ", ".join(answer.servers)),
            ("did not answer", ", ".join(answer.silent)),
            ("workers", "" if answer.pollers else "none polls it: start one with 'perdure worker'"),
        ]
    )
    pollers = table("IDENTITY", "BUILD", "LAST SEEN", "WORKFLOWS", "ACTIVITIES")
    for poller in answer.pollers:
        workflows = _types(poller.workflow_types, is_dynamic=poller.dynamic_workflows)
        activities = _types(poller.activity_types, is_dynamic=poller.dynamic_activities)
        seen = instant(poller.last_seen)
        pollers.add_row(poller.identity, poller.build_id[:12], seen, workflows, activities)
    session.output.result(answer, Lines(head, pollers) if answer.pollers else head)


def _types(named: Sequence[str], *, is_dynamic: bool) -> str:
    return ", ".join([*named, "any other" if named else "any"] if is_dynamic else named)
