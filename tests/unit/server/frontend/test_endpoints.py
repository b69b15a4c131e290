"""Every endpoint over real HTTP: paths, parameters, bodies, errors, probes and the OpenAPI document."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_server.frontend import OutcomeWait, Readiness
from perdure_server.frontend.examples import ANSWERS, PATH_NAMES, REQUESTS
from perdure_server.frontend.openapi import document
from perdure_server.frontend.routes import PREFIX, ROUTES, Route, RouteTable
from tests.unit.server.frontend.doubles import OWN, house, with_limits

NAMESPACE = "/api/v1/namespaces/default"
OPERATIONS = [route for route in ROUTES if route.name not in OWN]
"""What the engine is asked for."""


@pytest.mark.parametrize("route", OPERATIONS, ids=lambda route: route.name)
async def test_every_endpoint_does_its_example(route: Route) -> None:
    """The example of an endpoint is understood, reaches its operation, and gets the example's answer."""
    async with house() as h:
        body = encoder.encode(REQUESTS[route.name]) if route.request else None
        answer = await h.send(route.method, PREFIX + route.path.format_map(PATH_NAMES), body)
        assert (200, msgspec.to_builtins(msgspec.json.decode(encoder.encode(ANSWERS[route.name])))) == (
            answer.status,
            answer.body,
        )
        asked = h.api.last(route.name)
        if route.request:
            assert REQUESTS[route.name] == asked[-1]
        assert "no-store" == answer.headers["Cache-Control"]


async def test_names_in_paths_may_hold_anything() -> None:
    """Slashes, spaces, percent signs and letters of any script come through, encoded."""
    async with house() as h:
        await h.post(f"{NAMESPACE}/workflows/a%2Fb%20%25%2F%C3%BC/signal/a%2Fb", {})
        assert ("default", "a/b %/ü", "a/b") == h.api.last("signal_workflow")[:3]


@pytest.mark.parametrize(
    ("segment", "code"),
    [("%00", "INVALID_ARGUMENT"), ("%FF", "INVALID_ARGUMENT"), ("", "INVALID_ARGUMENT"), ("x" * 256, "ID_TOO_LONG")],
)
async def test_a_name_that_cannot_be(segment: str, code: str) -> None:
    """Control characters, broken UTF-8, nothing, and too much of it are refused."""
    async with house() as h:
        assert code == (await h.get(f"{NAMESPACE}/workflows/{segment}/result")).code


async def test_a_missing_namespace_is_named() -> None:
    """A request in a namespace that does not exist is refused, and one that exists is asked for once."""
    async with house() as h:
        answer = await h.get("/api/v1/namespaces/missing/workflow-count")
        assert (404, "NAMESPACE_NOT_FOUND") == (answer.status, answer.code)
        for _ in range(2):
            await h.get(f"{NAMESPACE}/workflow-count")
        assert 2 == len([name for name, _ in h.api.asked if name == "describe_namespace"])


async def test_parameters_reach_the_operation() -> None:
    """Query parameters are typed: durations are ISO 8601 or seconds."""
    async with house() as h:
        await h.get(f"{NAMESPACE}/workflows/w/history?run_id=r&after=7&wait=PT2S")
        assert ("default", "w", "r", 7, 2.0) == h.api.last("history")
        await h.get(f"{NAMESPACE}/workflows/w/result?wait=1.5")
        assert ("default", "w", "", 1.5) == h.api.last("workflow_result")
        await h.get(f"{NAMESPACE}/workflows?query=a%3D%22b+c%22&limit=5&cursor=x")
        assert ("default", 'a="b c"', 5, "x") == h.api.last("list_workflows")
        await h.get(f"{NAMESPACE}/workflows/w/updates/u?wait_for_stage=ACCEPTED&wait=PT1S")
        assert OutcomeWait(stage="ACCEPTED", wait_s=1.0) == h.api.last("update_outcome")[-1]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limti=5"])
async def test_parameters_that_do_not_fit(query: str) -> None:
    """A parameter out of range, of another type or of an unknown name is refused."""
    async with house() as h:
        answer = await h.get(f"{NAMESPACE}/workflows?{query}")
        assert (400, "INVALID_ARGUMENT") == (answer.status, answer.code)


async def test_waits_are_bounded() -> None:
    """No wait is longer than the service's longest, and none is negative."""
    async with house(with_limits(long_poll_max=timedelta(seconds=3), query_timeout_max=timedelta(seconds=2))) as h:
        await h.get(f"{NAMESPACE}/workflows/w/result?wait=PT1H")
        assert 3.0 == h.api.last("workflow_result")[-1]
        await h.get(f"{NAMESPACE}/workflows/w/result?wait=-5")
        assert 0.0 == h.api.last("workflow_result")[-1]
        await h.post(f"{NAMESPACE}/workflows/w/update/u", {"wait": "PT1H"})
        assert timedelta(seconds=3) == h.api.last("update_workflow")[-1].wait
        await h.post(f"{NAMESPACE}/workflows/w/query/q", {"timeout": "PT1H"})
        assert timedelta(seconds=2) == h.api.last("query_workflow")[-1].timeout
        await h.post(f"{NAMESPACE}/task-queues/q/poll", {"session": "s", "sequence": 1, "wait": "PT1H"})
        assert timedelta(seconds=3) == h.api.last("poll")[-1].wait


async def test_an_empty_body_is_an_empty_request() -> None:
    """A cancel needs nothing to be said."""
    async with house() as h:
        assert 200 == (await h.post(f"{NAMESPACE}/workflows/w/cancel")).status


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", "MALFORMED_JSON"), (b'{"workflow_type": 5}', "INVALID_ARGUMENT"), (b"{}", "INVALID_ARGUMENT")],
)
async def test_a_body_that_does_not_fit(body: bytes, code: str) -> None:
    """What is no JSON and what is not the request are told apart."""
    async with house() as h:
        answer = await h.send("POST", f"{NAMESPACE}/workflows/w", body)
        assert (400, code) == (answer.status, answer.code)


async def test_a_body_that_is_too_large() -> None:
    """A body over the limit is refused with the limit."""
    async with house(with_limits(body_bytes_max=100)) as h:
        answer = await h.send("POST", f"{NAMESPACE}/workflows/w", b'"' + b"x" * 200 + b'"')
        assert (413, "BODY_TOO_LARGE", 100) == (answer.status, answer.code, answer.body["details"]["max"])


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("GET", "/nowhere", "NOT_FOUND"),
        ("GET", "/api/v1/nowhere", "NOT_FOUND"),
        ("GET", f"{NAMESPACE}/workflows/w/nothing", "NOT_FOUND"),
        ("GET", f"{NAMESPACE}/workflows/w/result/", "NOT_FOUND"),
        ("POST", "/healthz", "METHOD_NOT_ALLOWED"),
        ("GET", f"{NAMESPACE}/workflows/w/cancel", "METHOD_NOT_ALLOWED"),
        ("DELETE", f"{NAMESPACE}/workflows/w", "METHOD_NOT_ALLOWED"),
    ],
)
async def test_what_is_not_there(method: str, target: str, code: str) -> None:
    """Unknown paths and methods are errors as all others are."""
    async with house() as h:
        answer = await h.send(method, target)
        assert ({"NOT_FOUND": 404, "METHOD_NOT_ALLOWED": 405}[code], code) == (answer.status, answer.code)


async def test_errors_keep_their_code() -> None:
    """A refusal of the engine comes with its status, message and details."""
    async with house() as h:
        h.api.fails["start_workflow"] = ServiceError(Code.WRONG_OWNER, "not mine", owner="http://b")
        answer = await h.post(f"{NAMESPACE}/workflows/w", {"workflow_type": "t"})
        assert (421, {"code": "WRONG_OWNER", "message": "not mine", "details": {"owner": "http://b"}}) == (
            answer.status,
            answer.body,
        )


async def test_an_error_of_ours_says_nothing_of_itself() -> None:
    """An unexpected error is an internal one, without its text."""
    async with house() as h:
        h.api.fails["count_workflows"] = RuntimeError("secret")
        answer = await h.get(f"{NAMESPACE}/workflow-count")
        assert (500, "INTERNAL") == (answer.status, answer.code)
        assert "secret" not in answer.body["message"]


async def test_probes() -> None:
    """The process is alive at once, and ready when the server says so."""
    async with house() as h:
        assert (200, {"status": "alive"}) == ((await h.get("/healthz")).status, (await h.get("/healthz")).body)
        assert 200 == (await h.get("/readyz")).status
        h.health.state = Readiness(state="waiting for database", reason="connection refused")
        answer = await h.get("/readyz")
        assert (503, {"state": "waiting for database", "reason": "connection refused"}) == (answer.status, answer.body)


async def test_the_version() -> None:
    """A client can see what it talks to."""
    async with house() as h:
        answer = await h.get("/api/v1/version")
        assert {
            "server_version": "1.2.3",
            "protocol_version": 1,
            "protocol_version_min": 1,
            "server_id": "server-1",
        } == answer.body


async def test_the_document_is_served() -> None:
    """The OpenAPI document is what the generator makes."""
    async with house() as h:
        assert (await h.get("/api/openapi.json")).body == msgspec.json.decode(encoder.encode(document("1.2.3")))


def test_the_document_is_whole() -> None:
    """Every endpoint has an example, and every reference of the document leads somewhere."""
    made: dict[str, Any] = msgspec.json.decode(encoder.encode(document("1")))
    for route in ROUTES:
        operation = made["paths"][PREFIX + route.path][route.method.lower()]
        assert "example" in operation["responses"]["200"]["content"]["application/json"]
        assert (route.request is None) == ("requestBody" not in operation)

    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if "$ref" in part else set()
            return own.union(*[references(value) for value in part.values()])
        return set().union(*[references(value) for value in part]) if isinstance(part, list) else set()

    known = {f"#/components/{kind}/{name}" for kind, named in made["components"].items() for name in named}
    assert set() == references(made) - known


def test_examples_are_of_their_routes_types() -> None:
    """An example is an instance of what its route takes and gives."""
    for route in ROUTES:
        assert isinstance(ANSWERS[route.name], route.answer)
        assert route.request is None or isinstance(REQUESTS[route.name], route.request)
    assert {route.name for route in ROUTES} == set(ANSWERS)
    assert {route.name for route in ROUTES if route.request} == set(REQUESTS)


def test_the_table_finds_every_route() -> None:
    """No route hides another."""
    table = RouteTable()
    for route in ROUTES:
        endpoint, _ = table.find(route.method, route.path)
        assert route is endpoint.route
