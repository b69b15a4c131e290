"""`perdure waitpoint rotate-secret`."""

from __future__ import annotations

from datetime import timedelta

import click

from perdure.cli.exits import usage_error
from perdure.cli.groups import Group
from perdure.cli.output import instant
from perdure.cli.session import Session, asks_service
from perdure.cli.settings import DURATION

GRACE = timedelta(days=7)

waitpoint: Group = Group(name="waitpoint", help="Look after the tokens of waitpoints.")


@waitpoint.command("rotate-secret")
@click.option("--grace", type=DURATION, help="How long tokens made before stay good.  [default: 7d]")
@click.option("--now", is_flag=True, help="Make the tokens that are out worthless at once.")
@asks_service
async def rotate_secret(session: Session, /, *, grace: timedelta | None, now: bool) -> None:
    """Sign the tokens of all namespaces with another secret.

    Running workers learn of it within a minute; with --now what they make until then is worthless too.
    """
    if now and grace is not None:
        raise usage_error("give --grace or --now, not both")
    wanted = timedelta(0) if now else GRACE if grace is None else grace
    answer = await session.service.rotate_waitpoint_secret(wanted)
    old = f"are good until {instant(answer.old_valid_until)}" if wanted else "are worthless"
    session.output.result(answer, f"rotated; tokens made before {old}")
