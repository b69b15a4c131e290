"""`perdure namespace` and `perdure task-queue`."""

import json
from datetime import timedelta

from perdure.cli.exits import Exit
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import DescribeTaskQueueAnswer, ListNamespacesAnswer, NamespaceInfo, PollerInfo
from tests.unit.cli.conftest import Perdure
from tests.unit.cli.fake_service import FakeService

SHOP = NamespaceInfo(name="shop", description="Orders", retention=timedelta(days=7))


def test_a_namespace_is_made(perdure: Perdure, service: FakeService) -> None:
    """Description and retention go with the request."""
    service.answer("POST", "/api/v1/namespaces/shop", SHOP)
    words = ("namespace", "create", "shop", "--description", "Orders", "--retention", "7d")
    assert (Exit.DONE, "created shop\n", "") == perdure(*words)
    assert {"description": "Orders", "retention": "P7D"} == service.last("/api/v1/namespaces/shop").body


def test_namespaces_are_listed(perdure: Perdure, service: FakeService) -> None:
    """A list is a table, or an array of what the service said."""
    service.answer("GET", "/api/v1/namespaces", ListNamespacesAnswer(namespaces=(SHOP,)))
    assert ["shop", "7d", "Orders"] == perdure("namespace", "list").out.splitlines()[1].split()
    assert ["shop"] == [row["name"] for row in json.loads(perdure("namespace", "list", "--output", "json").out)]


def test_a_namespace_is_described(perdure: Perdure, service: FakeService) -> None:
    """What is known of a namespace stands below each other."""
    service.answer("GET", "/api/v1/namespaces/shop", SHOP)
    assert ["name", "shop"] == perdure("namespace", "describe", "shop").out.splitlines()[0].split()


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


def test_an_idle_task_queue_says_what_to_do(perdure: Perdure, service: FakeService) -> None:
    """A queue that nobody polls names the command that starts a worker."""
    service.answer("GET", "/api/v1/namespaces/default/task-queues/orders", DescribeTaskQueueAnswer(name="orders"))
    assert "start one with 'perdure worker'" in perdure("task-queue", "describe", "orders").out
