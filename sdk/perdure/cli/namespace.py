"""`perdure namespace create | update | list | describe`."""

from __future__ import annotations

from datetime import timedelta

import click

from perdure.cli.groups import Group
from perdure.cli.output import fields, instant, table
from perdure.cli.session import Session, asks_service
from perdure.cli.settings import DURATION
from perdure_proto.durations import format_duration
from perdure_proto.namespaces import CreateNamespaceRequest, NamespaceInfo, UpdateNamespaceRequest

RPS_MAX = "So many requests of clients a second, by all servers together."

namespace: Group = Group(name="namespace", help="Make namespaces and look at them.", later=("delete",))


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
@click.option("--rps-max", type=float, default=0.0, help=f"{RPS_MAX} [default: no limit]")
@asks_service
async def create(
    session: Session, /, new_namespace: str, description: str, retention: timedelta, rps_max: float
) -> None:
    """Make a namespace."""
    request = CreateNamespaceRequest(description=description, retention=retention, rps_max=rps_max)
    made = await session.service.create_namespace(new_namespace, request)
    session.output.result(made, f"created {made.name}")


@namespace.command()
@click.argument("changed", metavar="NAME")
@click.option("--description", default=None, help="What it is for.")
@click.option("--retention", type=DURATION, default=None, help="How long closed executions are kept.")
@click.option("--rps-max", type=float, default=None, help=f"{RPS_MAX} 0 is no limit.")
@asks_service
async def update(
    session: Session, /, changed: str, description: str | None, retention: timedelta | None, rps_max: float | None
) -> None:
    """Change what is given of a namespace; the rest stays as it is."""
    request = UpdateNamespaceRequest(description=description, retention=retention, rps_max=rps_max)
    info = await session.service.update_namespace(changed, request)
    session.output.result(info, fields(_pairs(info)))


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
        ("requests a second", f"at most {info.rps_max:g}" if info.rps_max else "no limit"),
        ("created", instant(info.created_at)),
    ]
