"""A request that was understood: its endpoint and call, and the same as it travels on to another server.

What is passed on waits only as long as its caller still does. Law: an update has its id before anybody is asked, so
that whoever is asked next, after the shard has moved, knows it again. It must not know who answers.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from perdure_proto.codec import decode_request, encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.ids import uuid7
from perdure_proto.service import UpdateWithStartRequest, UpdateWorkflowRequest
from perdure_server.frontend.call import Call, MemberParameters, Parameters
from perdure_server.frontend.routes import Endpoint, Route


class Asked:
    """One request. `call` is what the endpoint's handler gets."""

    __slots__ = ("_began", "_body", "_target", "call", "route")

    def __init__(self, endpoint: Endpoint, names: list[str], target: str, body: bytes) -> None:
        decoded: Any = None
        if endpoint.decoder is not None:
            decoded = decode_request(endpoint.decoder, body or endpoint.empty)
        named = identified(decoded)
        self.route: Route = endpoint.route
        self._target = target
        self._body = body if named is decoded else encoder.encode(named)
        self.call = Call(names, _parameters(endpoint.route, target.partition("?")[2]), named)
        self._began = time.monotonic() if endpoint.route.long else 0.0

    @property
    def member(self) -> str:
        """The server that is to be asked, if one is named: then nobody else's answer is of use."""
        query = self.call.query
        return query.server if type(query) is MemberParameters else ""

    @property
    def waits(self) -> bool:
        """Whether its caller waits for something to happen."""
        return self.route.long and bool(self._wait)

    @property
    def _wait(self) -> timedelta:
        match self.call.body:
            case UpdateWorkflowRequest() as body:
                return body.wait
            case UpdateWithStartRequest() as body:
                return body.update.wait
            case _:
                wait: timedelta = self.call.query.wait
                return wait

    def onward(self) -> tuple[str, bytes]:
        """Target and body for another server, with the wait that is left."""
        if not self.waits:
            return self._target, self._body
        left = max(self._wait - timedelta(seconds=time.monotonic() - self._began), timedelta(0))
        return self._waiting(left)

    def at_once(self) -> tuple[str, bytes]:
        """The same without the wait."""
        return self._waiting(timedelta(0)) if self.waits else (self._target, self._body)

    def _waiting(self, wait: timedelta) -> tuple[str, bytes]:
        match self.call.body:
            case UpdateWorkflowRequest() as body:
                return self._target, encoder.encode(msgspec.structs.replace(body, wait=wait))
            case UpdateWithStartRequest() as body:
                update = msgspec.structs.replace(body.update, wait=wait)
                return self._target, encoder.encode(msgspec.structs.replace(body, update=update))
            case _:
                return with_wait(self._target, wait), self._body


def identified(body: Any) -> Any:  # noqa: ANN401 - whatever the endpoint takes
    """An update that has an id; one that came without cannot be repeated by its caller, and gets it in the answer."""
    if isinstance(body, UpdateWorkflowRequest) and not body.update_id:
        return msgspec.structs.replace(body, update_id=new_id())
    if isinstance(body, UpdateWithStartRequest) and not body.update.update_id:
        return msgspec.structs.replace(body, update=msgspec.structs.replace(body.update, update_id=new_id()))
    return body


def new_id() -> str:
    """An id that nobody else has."""
    return uuid7(int(time.time() * 1000), os.urandom(10))


def with_wait(target: str, wait: timedelta) -> str:
    """A target that asks for another wait.

    >>> with_wait("/api/v1/x?run_id=&wait=PT60S", timedelta(seconds=5))
    '/api/v1/x?run_id=&wait=5.0'
    """
    path, _, query = target.partition("?")
    given = {**dict(parse_qsl(query, keep_blank_values=True)), "wait": str(wait.total_seconds())}
    return f"{path}?{urlencode(given)}"


def _parameters(route: Route, query: str) -> Parameters:
    """The query of a request as the Struct of its route."""
    given = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
    try:
        return msgspec.convert(given, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise ServiceError(Code.INVALID_ARGUMENT, f"the query parameters do not fit: {error}") from None
