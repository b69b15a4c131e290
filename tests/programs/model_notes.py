"""Workflows that tell where they stand: memo, search attributes, current details, summaries."""

from datetime import UTC, datetime, timedelta
from typing import Any

from perdure import activity, workflow

go = workflow.Signal[None]("go")


@workflow.defn
async def order(rounds: int) -> dict[str, Any]:
    """Changes what people see of it, once for each round; each but the last is a run of its own."""
    channel = go.channel()
    workflow.upsert_search_attributes({"stage": f"round {rounds}", "due": datetime(2026, 1, 2, tzinfo=UTC)})
    workflow.upsert_memo({f"round {rounds}": {"open": True}})
    await channel.receive()
    workflow.upsert_search_attributes({"due": None})
    if rounds > 1:
        workflow.continue_as_new(rounds - 1)
    info = workflow.info()
    return {"memo": dict(info.memo), "search_attributes": dict(info.search_attributes)}


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def pack(item: str) -> str:
    return item


@workflow.defn
async def shipment(items: list[str]) -> list[str]:
    """Says what it does, before, between and after its activities."""
    said = [workflow.get_current_details()]
    for item in items:
        workflow.set_current_details(f"packs **{item}**")
        await pack.with_options(summary=f"pack {item}")(item)
        said.append(workflow.get_current_details())
    await workflow.sleep(0.01, summary="cools down")
    workflow.set_current_details("waits for a courier")
    await go.channel().receive()
    workflow.set_current_details("*sent*")
    return said


WORKFLOWS = (order, shipment)
ACTIVITIES = (pack,)
