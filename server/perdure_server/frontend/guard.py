"""Who may ask at all: hosts, origins, content types, keys and versions, before anything else is looked at.

A service on a developer's machine must not be reachable from a web page: neither by a form or a fetch (Origin, and
JSON as content type, which a page cannot send without asking first), nor by a name that an attacker points at
127.0.0.1 (Host). It must not know what is asked.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping

from perdure_proto import PROTOCOL_VERSION
from perdure_proto.errors import Code, ServiceError
from perdure_server.config import ServerSettings

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Probes say nothing that is worth a guard, and come by addresses of all kinds."""

RESUME_PREFIX = "/api/v1/resume/"
"""A token is the permission: who has none finds nothing here, and who has one may come from a web page or a webhook."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PROTOCOL_HEADER = "perdure-protocol"
JSON = "application/json"


class Guard:
    """The checks, with what they compare prepared. `hosts` are names allowed beside loopback."""

    __slots__ = ("_authorization", "_hosts")

    def __init__(self, settings: ServerSettings, hosts: frozenset[str] = frozenset()) -> None:
        self._authorization = f"Bearer {settings.api_key}".encode() if settings.api_key else b""
        loopback = is_loopback(settings.host)
        named = frozenset(host.lower() for host in hosts)
        # Beyond loopback the names by which a server is called are its operator's business, unless they are listed.
        self._hosts = named | LOOPBACK | {settings.host.lower()} if loopback or named else None

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Raise `ServiceError` unless the request may be looked at."""
        host = headers.get("Host", "")
        if self._hosts is not None and not self._knows(host):
            raise ServiceError(Code.FORBIDDEN_ORIGIN, f"host {host!r} is not this server: use its own name or address")
        origin = headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise ServiceError(Code.FORBIDDEN_ORIGIN, f"requests from the web page {origin!r} are refused")
        if self._authorization and not hmac.compare_digest(
            headers.get("Authorization", "").encode(errors="replace"), self._authorization
        ):
            raise ServiceError(Code.UNAUTHENTICATED, "send the API key: `Authorization: Bearer …`")
        if method == "POST" and not headers.get("Content-Type", "").lower().startswith(JSON):
            raise ServiceError(Code.INVALID_ARGUMENT, f"send the body as `Content-Type: {JSON}`")
        version = headers.get(PROTOCOL_HEADER)
        if version is not None and version != str(PROTOCOL_VERSION):
            raise ServiceError(
                Code.PROTOCOL_VERSION,
                f"the caller speaks protocol {version[:20]}, this server {PROTOCOL_VERSION}: install matching versions",
            )

    def _knows(self, host: str) -> bool:
        name = hostname(host)
        return self._hosts is not None and (name in self._hosts or is_loopback(name))


def hostname(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def is_loopback(name: str) -> bool:
    """Whether a name or address is this machine's own; names other than localhost are not looked up."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
