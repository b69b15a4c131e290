"""Interceptors as users write them: a header goes from the client to every handler, cached or replayed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from perdure import Client
from perdure.client import WithStartWorkflowOperation, WorkflowHandle
from perdure.exceptions import ConversionError, RPCError
from perdure_proto.errors import Code
from perdure_worker import Worker
from tests.integration.audit import audit
from tests.integration.model.stack import Stack, served
from tests.postgres import fresh_database
from tests.programs import model_interceptors as program
from tests.programs.model_interceptors import Tenants, finish, listens, receives, tenant

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    """Client and worker share one interceptor."""
    async with fresh_database(postgres, template=migrated_template) as dsn:
        async with served(dsn) as address, await Client.connect(address, interceptors=[Tenants()]) as client:
            cached: int = request.param
            async with Worker(
                client,
                workflows=program.WORKFLOWS,
                activities=program.ACTIVITIES,
                max_cached_workflows=cached,
                interceptors=client.interceptors,  # type: ignore[arg-type]  # the same ones: they count once
            ):
                yield Stack(client, dsn, "default")
        assert await audit(dsn, program.WORKFLOWS, [Tenants()])


@pytest.fixture
def ada() -> Iterator[None]:
    token = tenant.set("Ada")
    yield
    tenant.reset(token)


@pytest_asyncio.fixture(loop_scope="module")
async def listening(stack: Stack, ada: None) -> WorkflowHandle[list[str]]:
    return await stack.client.start_workflow(listens, id=stack.new_id())


async def test_a_header_reaches_workflow_and_activities(stack: Stack, ada: None) -> None:
    """Started, the activities of each kind, and the workflow's info carry what the client sent."""
    assert ["Ada"] * 6 == await stack.client.execute_workflow(program.tells, 1)


async def test_a_header_goes_on_to_the_next_run(stack: Stack, ada: None) -> None:
    """Continue-as-new carries what the interceptor gives it."""
    assert ["Ada, later"] * 6 == await stack.client.execute_workflow(program.tells, 2)


async def test_heartbeats_and_failures_pass_through(stack: Stack, ada: None) -> None:
    """Details are what the interceptor made of them, and it may mend a failure."""
    result = await stack.client.execute_workflow(program.beats_and_breaks)
    assert [["Ada", 7], "it was mended", "it was mended"] == result


async def test_messages_carry_headers(listening: WorkflowHandle[list[str]]) -> None:
    """Signals, queries and updates have their own, apart from the workflow's."""
    tenant.set("Bob")
    await listening.signal("note")
    assert "Bob" == await listening.query("whom")
    tenant.set("Cleo")
    assert "at once Cleo" == await listening.execute_update("plain", "at once")
    assert "a while Cleo" == await listening.execute_update("waiting", "a while")
    await listening.signal(finish)
    assert ["note Bob", "signal Cleo", "main Ada"] == await listening.result()


async def test_headers_reach_children_and_others(stack: Stack, ada: None) -> None:
    """The start of a child, a signal to it, and a signal to it as to any other workflow."""
    result = await stack.client.execute_workflow(program.has_a_child)
    assert {"note Ada as parent", "signal Ada as stranger", "main Ada's child"} == set(result)


async def test_an_interceptor_may_wait_around_a_plain_handler(listening: WorkflowHandle[list[str]]) -> None:
    """What it waits for is durable, and the handler runs after it."""
    assert "waits Ada" == await listening.execute_update("plain", "waits")
    await listening.signal(finish)
    assert ["signal Ada", "main Ada"] == await listening.result()


async def test_a_header_goes_with_a_start_signal(stack: Stack, ada: None) -> None:
    """The one of the start is the signal's too."""
    handle = await stack.client.start_workflow(listens, id=stack.new_id(), start_signal="note")
    await handle.signal(finish)
    assert {"note Ada", "signal Ada", "main Ada"} == set(await handle.result())


async def test_an_update_with_start_has_two_headers(stack: Stack, ada: None) -> None:
    """The workflow has one, the update another."""
    start = WithStartWorkflowOperation(listens, id=stack.new_id(), id_conflict_policy="use_existing")
    answer = await stack.client.execute_update_with_start_workflow("plain", "at once", start_workflow_operation=start)
    handle = await start.workflow_handle()
    await handle.signal(finish)
    assert ("at once Ada who updates", ["signal Ada", "main Ada"]) == (answer, await handle.result())


async def test_a_header_reaches_a_channel(stack: Stack, ada: None) -> None:
    """The interceptor may say in the value what it saw; the receiver stays who it was."""
    handle = await stack.client.start_workflow(receives, id=stack.new_id())
    for name in ("Bob", "Cleo"):
        tenant.set(name)
        await handle.signal("items", "tea")
    assert ["tea from Bob Ada", "tea from Cleo Ada"] == await handle.result()


async def test_a_header_reaches_a_standalone_activity(stack: Stack, ada: None) -> None:
    """It needs no workflow."""
    assert "Ada" == await stack.client.execute_activity(program.who)


async def test_headers_must_be_json(stack: Stack) -> None:
    """A value that cannot travel is refused where it is given."""
    tenant.set(object())  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ConversionError, match="headers are JSON values"):
        await stack.client.execute_workflow(program.tells, 1)


async def test_headers_are_bounded(stack: Stack) -> None:
    """A header larger than a payload may be is refused by the service, by name."""
    tenant.set("x" * 3_000_000)
    with pytest.raises(RPCError, match="the header has 3000") as caught:
        await stack.client.execute_workflow(program.tells, 1)
    assert Code.PAYLOAD_TOO_LARGE == caught.value.code
