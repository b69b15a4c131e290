"""Who may ask: web pages and strangers may not, whatever they try."""

from __future__ import annotations

import msgspec
import pytest

from perdure_server.config import ServerSettings
from perdure_server.frontend.guard import Guard, hostname, is_loopback
from tests.unit.server.frontend.doubles import SETTINGS, house

COUNT = "/api/v1/namespaces/default/workflow-count"
START = "/api/v1/namespaces/default/workflows/w"


async def test_a_name_pointed_at_this_machine_is_refused() -> None:
    """A host name of somebody else that resolves to loopback gets nothing."""
    async with house() as h:
        answer = await h.get(COUNT, Host="evil.example:7233")
        assert (403, "FORBIDDEN_ORIGIN") == (answer.status, answer.code)
        assert [] == h.api.asked


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:7233", "127.0.0.1:80", "127.8.8.8", "[::1]:7233", "LOCALHOST"]
)
async def test_loopback_names_are_ours(host: str) -> None:
    """This machine may be called by any of its own names."""
    async with house() as h:
        assert 200 == (await h.get(COUNT, Host=host)).status


async def test_configured_names_are_ours() -> None:
    """An operator may add host names."""
    async with house(SETTINGS, "perdure.example") as h:
        assert 200 == (await h.get(COUNT, Host="Perdure.Example:7233")).status
        assert 403 == (await h.get(COUNT, Host="other.example")).status


def test_beyond_loopback_any_name_is_good() -> None:
    """A server for a network does not know the names it has, unless they are listed."""
    settings = ServerSettings(host="0.0.0.0")
    Guard(settings).check("GET", {"Host": "any.example"})
    with pytest.raises(Exception, match="not this server"):
        Guard(settings, frozenset({"perdure.example"})).check("GET", {"Host": "any.example"})


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"]
)
async def test_requests_of_web_pages_are_refused(origin: str) -> None:
    """An origin other than the server's own gets nothing."""
    async with house() as h:
        answer = await h.post(START, {"workflow_type": "t"}, Origin=origin)
        assert (403, "FORBIDDEN_ORIGIN") == (answer.status, answer.code)
        assert [] == h.api.asked


async def test_a_token_is_permission_enough() -> None:
    """A waitpoint is resumed without a key, from any page, by any name of the server, as any type of content."""
    settings = msgspec.structs.replace(SETTINGS, api_key="secret")
    async with house(settings) as h:
        asked = {"Host": "hooks.example", "Origin": "https://mail.example", "Content_Type": "text/plain"}
        assert 200 == (await h.send("POST", "/api/v1/resume/token", b"3", **asked)).status
        assert ("token", b"3") == tuple(map(_plain, h.api.last("resume_waitpoint")))
        assert 405 == (await h.send("GET", "/api/v1/resume/token", None, **asked)).status
        assert 401 == (await h.get("/api/v1/namespaces/default/waitpoints")).status


@pytest.mark.parametrize("path", ["/api/v1/resume", "/api/v1/resume/a/b", "/api/v1/resume/../namespaces"])
async def test_the_way_of_tokens_leads_nowhere_else(path: str) -> None:
    """What is beside it asks for the key, or is not there."""
    async with house(msgspec.structs.replace(SETTINGS, api_key="secret")) as h:
        assert (await h.send("POST", path, b"3")).status in {401, 404}
        assert [] == h.api.asked


async def test_no_body_is_the_value_null() -> None:
    """A webhook that sends nothing completes a waitpoint with nothing."""
    async with house() as h:
        assert 200 == (await h.send("POST", "/api/v1/resume/token")).status
        assert b"null" == _plain(h.api.last("resume_waitpoint")[1])


def _plain(given: object) -> object:
    return bytes(given) if isinstance(given, msgspec.Raw) else given


async def test_our_own_pages_may_ask() -> None:
    """The server's own origin is good."""
    async with house() as h:
        assert 200 == (await h.post(START, {"workflow_type": "t"}, Origin=h.address)).status


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_forms_are_refused(content_type: str) -> None:
    """What a page can post without asking first is not taken for JSON."""
    async with house() as h:
        answer = await h.post(START, {"workflow_type": "t"}, Content_Type=content_type)
        assert (400, "INVALID_ARGUMENT") == (answer.status, answer.code)
        assert [] == h.api.asked


async def test_the_key_is_asked_for() -> None:
    """With an API key configured only its bearer is served; probes are open."""
    async with house(msgspec.structs.replace(SETTINGS, api_key="sesame")) as h:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "sesame"},
            {"Authorization": "Bearer ü"},
        ):
            answer = await h.get(COUNT, **headers)
            assert (401, "UNAUTHENTICATED", "Bearer") == (
                answer.status,
                answer.code,
                answer.headers["WWW-Authenticate"],
            )
        assert 200 == (await h.get(COUNT, Authorization="Bearer sesame")).status
        assert 200 == (await h.get("/healthz")).status
        assert 401 == (await h.get("/api/openapi.json")).status


async def test_another_protocol_is_refused() -> None:
    """A caller of another protocol version is told so; one that says nothing is served."""
    async with house() as h:
        answer = await h.get(COUNT, perdure_protocol="9")
        assert (426, "PROTOCOL_VERSION") == (answer.status, answer.code)
        assert 200 == (await h.get(COUNT, perdure_protocol="1")).status


@pytest.mark.parametrize(
    ("host", "name"), [("a.example", "a.example"), ("A:80", "a"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("", "")]
)
def test_the_name_in_a_host(host: str, name: str) -> None:
    """Ports and brackets are no part of a name."""
    assert name == hostname(host)


def test_what_is_loopback() -> None:
    """Names are not looked up."""
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("localhost.evil.example")
