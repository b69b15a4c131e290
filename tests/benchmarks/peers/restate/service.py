# mypy: disable-error-code="untyped-decorator, no-any-return"
# restate-sdk is not installed where mypy runs.
"""The workflows for Restate, served to its server. Argument: the port.

A step is `ctx.run_typed`, which runs in this process and costs one entry of the journal. To call another service would
be a step elsewhere, as perdure's activities are, and slower.
"""

from __future__ import annotations

import sys

import restate  # type: ignore[import-not-found]
from hypercorn.config import Config  # type: ignore[import-not-found]
from hypercorn.run import run as serve  # type: ignore[import-not-found]

from tests.benchmarks.peers.parcel import Parcel, Parcels

APPLICATION = "tests.benchmarks.peers.restate.service:application"
NO_LIMIT = 2**31 - 1

benchmark = restate.Service("Benchmark")
approval = restate.Workflow("Approval")
awakeables: dict[int, str] = {}
"""The ids that a workflow gave out: one process serves all, so no call is needed to hand them on."""


async def handle(parcel: Parcel) -> Parcel:
    return parcel


@benchmark.handler()
async def once(ctx: restate.Context, parcel: Parcel) -> Parcel:
    return await ctx.run_typed("handle", handle, parcel=parcel)


@benchmark.handler()
async def in_sequence(ctx: restate.Context, parcels: Parcels) -> int:
    first, total = parcels.first, 0
    for step in range(parcels.steps):
        done = await ctx.run_typed("handle", handle, parcel=Parcel(first.number + step, first.text))
        total += done.number
    return total


@benchmark.handler()
async def fan_out(ctx: restate.Context, width: int) -> list[int]:
    steps = [ctx.run_typed("handle", handle, parcel=Parcel(number)) for number in range(width)]
    return [(await step).number for step in await restate.gather(*steps)]


@benchmark.handler()
async def wait_for_awakeable(ctx: restate.Context, number: int) -> Parcel:
    awakeables[number], promise = ctx.awakeable(type_hint=Parcel)
    return await promise


@benchmark.handler()
async def awakeable_of(ctx: restate.Context, number: int) -> str:
    return awakeables[number]


@approval.main()
async def run(ctx: restate.WorkflowContext, number: int) -> Parcel:
    return await ctx.promise("approval", type_hint=Parcel).value()


@approval.handler()
async def approve(ctx: restate.WorkflowSharedContext, parcel: Parcel) -> None:
    await ctx.promise("approval", type_hint=Parcel).resolve(parcel)


application = restate.app([benchmark, approval])


def main(port: str) -> None:
    """The production settings of Restate's documentation for hypercorn; uvloop in place of
    asyncio; one process, as perdure has one worker. In single runs on two busy cores both were the faster choice.
    """
    config = Config()
    config.application_path = APPLICATION
    config.bind = [f"127.0.0.1:{port}"]
    config.h2_max_concurrent_streams = NO_LIMIT
    config.keep_alive_max_requests = NO_LIMIT
    config.keep_alive_timeout = NO_LIMIT
    config.worker_class = "uvloop"
    config.workers = 0  # serve in this very process
    serve(config)


if __name__ == "__main__":
    main(sys.argv[1])
