"""Namespaces as they cross the wire: made, changed, described."""

from __future__ import annotations

from datetime import datetime, timedelta

from perdure_proto.service import Message


class CreateNamespaceRequest(Message, frozen=True, kw_only=True):
    """`POST /api/v1/namespaces/{namespace}`."""

    description: str = ""
    retention: timedelta = timedelta(days=3)
    rps_max: float = 0.0


class UpdateNamespaceRequest(Message, frozen=True, kw_only=True):
    """`POST …/{namespace}/update`: what is not given stays as it is."""

    description: str | None = None
    retention: timedelta | None = None
    rps_max: float | None = None


class NamespaceInfo(Message, frozen=True, kw_only=True):
    """`GET /api/v1/namespaces/{namespace}`.

    `rps_max` is how many requests of clients a second all servers together take; 0 is no limit.
    """

    name: str
    description: str = ""
    retention: timedelta = timedelta(days=3)
    created_at: datetime | None = None
    rps_max: float = 0.0


class ListNamespacesAnswer(Message, frozen=True, kw_only=True):
    """`GET /api/v1/namespaces`."""

    namespaces: tuple[NamespaceInfo, ...]
