"""`perdure namespace create | list | describe`."""

from __future__ import annotations

from datetime import timedelta

import click

from perdure.cli.groups import Group
from perdure.cli.output import fields, instant, table
from perdure.cli.session import Session, asks_service
from perdure.cli.settings import DURATION
from perdure_proto.durations import format_duration
from perdure_proto.service import CreateNamespaceRequest, NamespaceInfo

namespace: Group = Group(name="namespace", help="Make namespaces and look at them.", later=("delete", "update"))


@namespace.command()
@click.argument("new_namespace", metavar="NAME")
@click.option("--description", default="", help="What it is for.")
@click.option(
    "--retention",
    type=DURATION,
    default=timedelta(days=3),
    show_default="3d",
    help="How long closed executions are kept.",
)
@asks_service
async def create(session: Session, /, new_namespace: str, description: str, retention: timedelta) -> None:
    """Make a namespace."""
    request = CreateNamespaceRequest(description=description, retention=retention)
    made = await session.service.create_namespace(new_namespace, request)
    session.output.result(made, f"created {made.name}")


@namespace.command("list")
@asks_service
async def list_namespaces(session: Session) -> None:
    """List the namespaces."""
    found = (await session.service.namespaces()).namespaces
    made = table("NAME", "RETENTION", "CREATED", "DESCRIPTION")
    for info in found:
        made.add_row(info.name, format_duration(info.retention), instant(info.created_at), info.description)
    session.output.rows(found, made)


@namespace.command()
@click.argument("wanted", metavar="NAME")
@asks_service
async def describe(session: Session, /, wanted: str) -> None:
    """Describe a namespace."""
    info = await session.service.describe_namespace(wanted)
    session.output.result(info, fields(_pairs(info)))


def _pairs(info: NamespaceInfo) -> list[tuple[str, str]]:
    return [
        ("name", info.name),
        ("description", info.description),
        ("retention", format_duration(info.retention)),
        ("created", instant(info.created_at)),
    ]
