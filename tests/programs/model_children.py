"""Parents and children, and workflows that signal and cancel others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Literal

from perdure import activity, workflow
from perdure.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)
from perdure.workflow import ChildWorkflowCancellationType, ParentClosePolicy
from tests.programs import signs

MINUTE = timedelta(minutes=1)
OTHER_QUEUE = "children"

go = workflow.Signal[str]("go")
numbers = workflow.Signal[int]("numbers")


@activity.defn(start_to_close_timeout=MINUTE)
async def arrives(name: str) -> None:
    signs.give(name)


# Children.


@workflow.defn
async def doubles(number: int) -> int:
    return 2 * number


@workflow.defn
async def refuses(kind: str) -> None:
    raise ApplicationError("no", 42, type=kind)


@workflow.defn
async def waits(ending: str = "raises") -> str:
    """Says that it is there, waits for a word, and ends as it is told when it is asked to stop."""
    await arrives(workflow.info().workflow_id)
    try:
        return await go.channel().receive()
    except asyncio.CancelledError:
        if ending == "fails":
            raise ApplicationError("could not stop", type="Stuck") from None
        if ending == "returns":
            return f"stopped: {workflow.cancellation_reason()}"
        raise


@workflow.defn
async def begins_anew(runs: int) -> str:
    """Goes on in so many new runs, then waits for a word."""
    if runs:
        workflow.continue_as_new(runs - 1)
    parent = workflow.info().parent
    await arrives(workflow.info().workflow_id)
    try:
        word = await go.channel().receive()
    except asyncio.CancelledError:
        return "asked to stop"
    return f"{word} {parent.workflow_id if parent else None}"


@workflow.defn
async def lasts() -> None:
    await asyncio.sleep(3600)


# Parents.


@workflow.defn
async def calls_in_every_form() -> list[int]:
    called = await doubles(1)
    handle = await doubles.start(2)
    assert handle.first_execution_run_id
    named = await workflow.execute_child_workflow("doubles", args=[3], result_type=int)
    later = await workflow.start_child_workflow("doubles", args=[4])
    return [called, await handle, named, await later]


@workflow.defn
async def elsewhere(number: int) -> int:
    return await doubles.with_options(task_queue=OTHER_QUEUE)(number)


@workflow.defn
async def in_namespace(namespace: str, child_id: str) -> str:
    """A child in another namespace: started, reached by its handle and by its id, and waited for."""
    try:
        handle = await waits.with_options(namespace=namespace, id=child_id).start("returns")
    except ChildWorkflowError as error:
        return str(error.cause)
    await handle.signal("unheard")
    await workflow.external(child_id, namespace=namespace).signal(go, "from afar")
    return await handle


@workflow.defn
async def gathers(count: int) -> int:
    return sum(await asyncio.gather(*[doubles(number) for number in range(count)]))


@workflow.defn
async def is_refused(kind: str) -> None:
    await refuses(kind)


@workflow.defn
async def hears_how_it_ended(child_id: str, seconds: float) -> list[str | None]:
    """What the error of a child that waits says."""
    try:
        timeout = timedelta(seconds=seconds) if seconds else None
        await waits.with_options(id=child_id, run_timeout=timeout)()
    except ChildWorkflowError as error:
        return [error.workflow_id, error.workflow_type, error.retry_state, type(error.cause).__name__]
    return []


@workflow.defn
async def wants_an_id(child_id: str, policy: Literal["allow_duplicate", "reject_duplicate"]) -> str:
    try:
        await doubles.with_options(id=child_id, id_reuse_policy=policy)(1)
    except WorkflowAlreadyStartedError as error:
        return f"{error.workflow_id} is taken"
    return "mine"


@workflow.defn
async def speaks_to_child(child_id: str) -> str:
    handle = await waits.with_options(id=child_id).start()
    await handle.signal(go, "on")
    return await handle


@workflow.defn
async def follows_a_chain(child_id: str, how: Literal["wait", "signal", "cancel"]) -> str:
    """A child in its third run is the child that was started."""
    handle = await begins_anew.with_options(id=child_id).start(2)
    if how != "wait":
        await go.channel().receive()
    if how == "signal":
        await handle.signal(go, "heard")
    elif how == "cancel":
        handle.cancel()
    return await handle


@workflow.defn
async def cancels(child_id: str, how: ChildWorkflowCancellationType, ending: str) -> str:
    """Cancels its child when told to, and says what the wait for it gave. The child is left alone at the end."""
    child = waits.with_options(id=child_id, cancellation_type=how, parent_close_policy="abandon")
    handle = await child.start(ending)
    reason = await go.channel().receive()
    handle.cancel(reason)
    try:
        return await handle
    except asyncio.CancelledError:
        return "cancelled"
    except ChildWorkflowError as error:
        return f"failed: {error.cause}"


@workflow.defn
async def is_cancelled(child_id: str, *, shield: bool = False) -> str:
    """Waits for a child, which is cancelled with it, or is not."""
    handle = await waits.with_options(id=child_id).start("returns")
    try:
        return await (asyncio.shield(handle) if shield else handle)
    except asyncio.CancelledError:
        await handle.signal(go, "went on")
        return await handle


@workflow.defn
async def cancels_at_once() -> str:
    """A child that is cancelled in the turn in which it was asked for."""
    task = asyncio.create_task(lasts())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return str(task.cancelled())


@workflow.defn
async def leaves(child_id: str, policy: ParentClosePolicy, ending: str) -> str:
    """Closes while its child runs."""
    _ = await waits.with_options(id=child_id, parent_close_policy=policy).start()
    await go.channel().receive()
    if ending == "fails":
        raise ApplicationError("left")
    if ending == "continues":
        workflow.continue_as_new(doubles(1))
    return "left"


# Others.


@workflow.defn
async def tells(workflow_id: str, what: Literal["signal", "cancel"], run_id: str | None = None) -> str:
    other = workflow.external(workflow_id, run_id=run_id)
    try:
        await (other.signal(go, "told") if what == "signal" else other.cancel("told"))
    except ApplicationError as error:
        return str(error.type)
    return "there"


@workflow.defn
async def tells_itself(what: Literal["signal", "cancel"]) -> str:
    other = workflow.external(workflow.info().workflow_id)
    try:
        await (other.signal(go, "told") if what == "signal" else other.cancel())
    except ApplicationError as error:
        return str(error.type)
    return "there"


@workflow.defn
async def counts(workflow_id: str, count: int) -> None:
    """Sends numbers, many at a time."""
    other = workflow.external(workflow_id)
    await asyncio.gather(*[other.signal(numbers, number) for number in range(count)])


@workflow.defn
async def collects(count: int) -> list[int]:
    channel = numbers.channel()
    return [await channel.receive() for _ in range(count)]


WORKFLOWS: list[Any] = [
    doubles,
    refuses,
    waits,
    begins_anew,
    lasts,
    calls_in_every_form,
    elsewhere,
    in_namespace,
    gathers,
    is_refused,
    hears_how_it_ended,
    wants_an_id,
    speaks_to_child,
    follows_a_chain,
    cancels,
    is_cancelled,
    cancels_at_once,
    leaves,
    tells,
    tells_itself,
    counts,
    collects,
]
ACTIVITIES: list[Any] = [arrives]
