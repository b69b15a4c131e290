"""A look at changed code before it runs: does it load, and do the open executions still agree with it?

`perdure dev` runs it in a process of its own on every change. Disagreement is said and does not stop the reload: it
is the developer who decides what to do about an execution.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from perdure.cli.exits import one_line
from perdure.cli.session import Session, asks_service
from perdure.exceptions import RPCError
from perdure_proto.service import WorkflowExecutionInfo

if TYPE_CHECKING:
    from perdure_worker.discovery import Found

LISTED_MAX = 1_000
REPLAYED_MAX = 200
"""Beyond this a reload would take too long; a worker finds the rest out by itself."""


class Disagreement(Struct, frozen=True, kw_only=True):
    """An open execution that the new code would take another way."""

    workflow_id: str
    workflow_type: str
    why: str


def _load(_ctx: click.Context, _param: click.Parameter, targets: tuple[str, ...]) -> Found:
    """Users' code is imported before there is a loop, as a worker does it."""
    from perdure.cli.definitions import load_definitions

    return load_definitions(targets)


@click.command("reload-check", hidden=True)
@click.argument("found", nargs=-1, required=True, callback=_load)
@asks_service
async def reload_check(session: Session, /, found: Found) -> None:
    """Load code, and replay the open executions on it."""
    from perdure_worker.replayer import Replayer

    names = {workflow.name for workflow in found.workflows}
    replayer = Replayer(found.workflows)
    for info in await _open_executions(session, names):
        try:
            events = [event async for event in session.service.events(info.workflow_id, info.run_id)]
            await asyncio.to_thread(replayer.replay, events)  # outside of this loop
        except RPCError:
            continue  # gone meanwhile
        except Exception as error:  # noqa: BLE001 - whatever user code raises is an answer here
            why = one_line(f"{type(error).__name__}: {error}")
            told = Disagreement(workflow_id=info.workflow_id, workflow_type=info.workflow_type, why=why)
            session.output.result(told, f"{info.workflow_id} ({info.workflow_type}) no longer agrees: {why}")


async def _open_executions(session: Session, names: set[str]) -> list[WorkflowExecutionInfo]:
    listed = await session.service.executions("", LISTED_MAX)
    running = [info for info in listed if info.status == "RUNNING" and info.workflow_type in names]
    return running[:REPLAYED_MAX]
