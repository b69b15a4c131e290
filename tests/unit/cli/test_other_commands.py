"""`perdure namespace` and `perdure task-queue`."""

import json
from datetime import timedelta

import msgspec

from perdure.cli.exits import Exit
from perdure_proto.errors import Code, ServiceError
from perdure_proto.namespaces import ListNamespacesAnswer, NamespaceInfo
from perdure_proto.service import DescribeTaskQueueAnswer, PollerInfo
from tests.unit.cli.conftest import Perdure
from tests.unit.cli.fake_service import FakeService

SHOP = NamespaceInfo(name="shop", description="Orders", retention=timedelta(days=7))


def test_a_namespace_is_made(perdure: Perdure, service: FakeService) -> None:
    """Description, retention and rate go with the request."""
    service.answer("POST", "/api/v1/namespaces/shop", SHOP)
    words = ("namespace", "create", "shop", "--description", "Orders", "--retention", "7d", "--rps-max", "50")
    assert (Exit.DONE, "created shop\n", "") == perdure(*words)
    assert {"description": "Orders", "retention": "P7D", "rps_max": 50.0} == service.last(
        "/api/v1/namespaces/shop"
    ).body


def test_namespaces_are_listed(perdure: Perdure, service: FakeService) -> None:
    """A list is a table, or an array of what the service said."""
    service.answer("GET", "/api/v1/namespaces", ListNamespacesAnswer(namespaces=(SHOP,)))
    assert ["shop", "7d", "Orders"] == perdure("namespace", "list").out.splitlines()[1].split()
    assert ["shop"] == [row["name"] for row in json.loads(perdure("namespace", "list", "--output", "json").out)]


def test_a_namespace_is_described(perdure: Perdure, service: FakeService) -> None:
    """What is known of a namespace stands below each other."""
    service.answer("GET", "/api/v1/namespaces/shop", SHOP)
    assert ["name", "shop"] == perdure("namespace", "describe", "shop").out.splitlines()[0].split()


def test_a_namespace_is_changed(perdure: Perdure, service: FakeService) -> None:
    """Only what is given goes with the request, and the namespace is shown as it is then."""
    service.answer("POST", "/api/v1/namespaces/shop/update", msgspec.structs.replace(SHOP, rps_max=100.0))
    out = perdure("namespace", "update", "shop", "--rps-max", "100").out
    given = service.last("/api/v1/namespaces/shop/update").body
    assert {"rps_max": 100.0} == {name: value for name, value in given.items() if value is not None}
    assert ["requests", "a", "second", "at", "most", "100"] == out.splitlines()[3].split()


def test_an_unknown_namespace_is_refused(perdure: Perdure, service: FakeService) -> None:
    """The code of the service is in the line."""
    service.answer("GET", "/api/v1/namespaces/shop", ServiceError(Code.NAMESPACE_NOT_FOUND, "no namespace 'shop'"))
    outcome = perdure("namespace", "describe", "shop")
    assert (Exit.REFUSED, "error: NAMESPACE_NOT_FOUND: no namespace 'shop'\n") == (outcome.status, outcome.err)


def test_a_task_queue_names_its_workers(perdure: Perdure, service: FakeService) -> None:
    """Who polls, for which types, and what waits."""
    poller = PollerInfo(session="s", identity="7@host", workflow_types=("order",), activity_types=("charge", "ship"))
    answer = DescribeTaskQueueAnswer(name="orders", pollers=(poller,), activity_backlog=3)
    service.answer("GET", "/api/v1/namespaces/default/task-queues/orders", answer)
    out = perdure("task-queue", "describe", "orders").out
    assert ["activity", "tasks", "waiting", "3"] == out.splitlines()[2].split()
    assert ["7@host", "order", "charge,", "ship"] == out.splitlines()[-1].split()


def test_a_task_queue_is_that_of_all_servers(perdure: Perdure, service: FakeService) -> None:
    """Who has answered, who has not, and the rate that holds for all."""
    answer = DescribeTaskQueueAnswer(
        name="orders", activities_per_second=20.0, servers=("server-1", "server-2"), silent=("server-3",)
    )
    service.answer("GET", "/api/v1/namespaces/default/task-queues/orders", answer)
    lines = [" ".join(line.split()) for line in perdure("task-queue", "describe", "orders").out.splitlines()]
    assert {"activities a second at most 20", "servers server-1, server-2", "did not answer server-3"} <= set(lines)


def test_an_idle_task_queue_says_what_to_do(perdure: Perdure, service: FakeService) -> None:
    """A queue that nobody polls names the command that starts a worker."""
    service.answer("GET", "/api/v1/namespaces/default/task-queues/orders", DescribeTaskQueueAnswer(name="orders"))
    assert "start one with 'perdure worker'" in perdure("task-queue", "describe", "orders").out
