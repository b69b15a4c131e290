"""Errors with stable codes: what a caller gets when a request cannot be done.

A code never changes its meaning. `STATUS` is the HTTP status of each; `RETRYABLE` are those that a client repeats.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Any

from msgspec import Struct


class Code(StrEnum):
    """Every error code; the reference lists them with what to do."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    """A field, parameter, option or list filter is wrong. Correct what the message names."""
    MALFORMED_JSON = "MALFORMED_JSON"
    """The body is not the JSON that this endpoint takes. Compare it with the OpenAPI document."""
    UNAUTHENTICATED = "UNAUTHENTICATED"
    """The API key is missing or not the server's. Set `PERDURE_API_KEY`, or `api_key=` of `Client.connect`."""
    FORBIDDEN_ORIGIN = "FORBIDDEN_ORIGIN"
    """The `Host` or `Origin` is not this server's own. Use its name or address; a web page cannot call it."""
    NOT_FOUND = "NOT_FOUND"
    """There is no such path. Look it up in the OpenAPI document."""
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    """The path exists with another HTTP method. Use one that the message names."""
    NAMESPACE_NOT_FOUND = "NAMESPACE_NOT_FOUND"
    """Nobody made this namespace. Check the name, or run `perdure namespace create`."""
    NAMESPACE_ALREADY_EXISTS = "NAMESPACE_ALREADY_EXISTS"
    """A namespace of this name exists. Use it, or choose another name."""
    WORKFLOW_NOT_FOUND = "WORKFLOW_NOT_FOUND"
    """No run has this workflow id or run id, or retention removed it. Check id and namespace."""
    WORKFLOW_CLOSED = "WORKFLOW_CLOSED"
    """The run has ended and takes no messages. Start another one, or address the run that is open."""
    WORKFLOW_PAUSED = "WORKFLOW_PAUSED"
    """The run is paused and takes no updates. Unpause it first."""
    WORKFLOW_ALREADY_STARTED = "WORKFLOW_ALREADY_STARTED"
    """The id is taken by a run. Use that run, another id, or other id policies."""
    NOTHING_TO_REOPEN = "NOTHING_TO_REOPEN"
    """The run neither failed nor keeps failing its task. To go back all the same, reset it."""
    ACTIVITY_NOT_FOUND = "ACTIVITY_NOT_FOUND"
    """No activity of this id is pending in the run, or stands alone in the namespace. Check the id."""
    ACTIVITY_CLOSED = "ACTIVITY_CLOSED"
    """The standalone activity has ended. Start another one."""
    ACTIVITY_ALREADY_STARTED = "ACTIVITY_ALREADY_STARTED"
    """The id is taken by a standalone activity. Use that one, another id, or other id policies."""
    UPDATE_NOT_FOUND = "UPDATE_NOT_FOUND"
    """The run knows no update of this id. Check the id; a rejected update is not remembered."""
    WAITPOINT_TOKEN_INVALID = "WAITPOINT_TOKEN_INVALID"  # noqa: S105 - a code, no secret
    """The token of a waitpoint was not made by this service, or was changed on its way. Take the whole token."""
    WAITPOINT_EXPIRED = "WAITPOINT_EXPIRED"
    """The waitpoint's time is over, and the workflow does not wait any more. Ask whoever sent the token for another."""
    WAITPOINT_USED = "WAITPOINT_USED"
    """The waitpoint was completed with another value before. The first one counts; nothing is to be done."""
    QUERY_FAILED = "QUERY_FAILED"
    """The query handler raised, or there is none of this name. The message says which."""
    QUERY_TIMED_OUT = "QUERY_TIMED_OUT"
    """No worker answered in time. Check that one runs that knows the workflow type, then ask again."""
    TASK_NOT_FOUND = "TASK_NOT_FOUND"
    """The task of this token has closed or was given to another worker. Workers drop it by themselves."""
    SESSION_UNKNOWN = "SESSION_UNKNOWN"
    """The server does not know the worker session, as after a restart. Workers introduce themselves again."""
    UNHANDLED_COMMAND = "UNHANDLED_COMMAND"
    """News came while the workflow was closing. The worker gets a new task that brings them."""
    BAD_COMMAND = "BAD_COMMAND"
    """A command of the workflow cannot be carried out. The message names it; repair the workflow."""
    WORKER_LOST = "WORKER_LOST"
    """The worker of this attempt fell silent. The attempt counts as failed and is retried by its policy."""
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    """A limit on rate or number is reached for now. Clients repeat; go slower or raise the limit."""
    HISTORY_LIMIT = "HISTORY_LIMIT"
    """The history of the run is full. Let the workflow continue as new earlier."""
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    """One value is over `payload_bytes_max`. Pass a reference to it instead."""
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    """The request is over `body_bytes_max`. Send less at once."""
    ID_TOO_LONG = "ID_TOO_LONG"
    """An id or name is over `id_length_max`. Shorten it."""
    VALUE_REFUSED = "VALUE_REFUSED"
    """Postgres refused a value, such as one that is too large for an index. Change the value."""
    PROTOCOL_VERSION = "PROTOCOL_VERSION"
    """Client or worker and server have no protocol version in common. Upgrade the older one."""
    WRONG_OWNER = "WRONG_OWNER"
    """Another server owns the workflow. Clients go there by themselves."""
    NOT_SUPPORTED = "NOT_SUPPORTED"
    """This version does not have it. The message names it."""
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    """The answer did not come in time; the request may have been carried out. Repeat it with the same request id."""
    UNAVAILABLE = "UNAVAILABLE"
    """The server cannot answer now: it starts, stops, or waits for Postgres. Clients repeat; else see `/readyz`."""
    INTERNAL = "INTERNAL"
    """A mistake of the server; its log has the details. Report it."""


STATUS: MappingProxyType[Code, int] = MappingProxyType(
    {
        Code.INVALID_ARGUMENT: 400,
        Code.MALFORMED_JSON: 400,
        Code.UNAUTHENTICATED: 401,
        Code.FORBIDDEN_ORIGIN: 403,
        Code.NOT_FOUND: 404,
        Code.METHOD_NOT_ALLOWED: 405,
        Code.NAMESPACE_NOT_FOUND: 404,
        Code.NAMESPACE_ALREADY_EXISTS: 409,
        Code.WORKFLOW_NOT_FOUND: 404,
        Code.WORKFLOW_CLOSED: 409,
        Code.WORKFLOW_PAUSED: 409,
        Code.WORKFLOW_ALREADY_STARTED: 409,
        Code.NOTHING_TO_REOPEN: 409,
        Code.ACTIVITY_NOT_FOUND: 404,
        Code.ACTIVITY_CLOSED: 409,
        Code.ACTIVITY_ALREADY_STARTED: 409,
        Code.UPDATE_NOT_FOUND: 404,
        Code.WAITPOINT_TOKEN_INVALID: 403,
        Code.WAITPOINT_EXPIRED: 410,
        Code.WAITPOINT_USED: 409,
        Code.QUERY_FAILED: 400,
        Code.QUERY_TIMED_OUT: 504,
        Code.TASK_NOT_FOUND: 404,
        Code.SESSION_UNKNOWN: 409,
        Code.UNHANDLED_COMMAND: 409,
        Code.BAD_COMMAND: 400,
        Code.WORKER_LOST: 503,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.HISTORY_LIMIT: 409,
        Code.PAYLOAD_TOO_LARGE: 413,
        Code.BODY_TOO_LARGE: 413,
        Code.ID_TOO_LONG: 400,
        Code.VALUE_REFUSED: 400,
        Code.PROTOCOL_VERSION: 426,
        Code.WRONG_OWNER: 421,
        Code.NOT_SUPPORTED: 501,
        Code.DEADLINE_EXCEEDED: 504,
        Code.UNAVAILABLE: 503,
        Code.INTERNAL: 500,
    }
)

RETRYABLE = frozenset({Code.UNAVAILABLE, Code.WRONG_OWNER, Code.RESOURCE_EXHAUSTED})
"""What a client repeats, with the same request id, until its `rpc_timeout`."""

RETRY_AFTER = "retry_after"
"""Among an error's details: seconds before which a repeat is in vain. HTTP has it as the header `Retry-After` too."""


class ErrorBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every error answer."""

    code: Code
    message: str
    details: dict[str, Any] = {}


class ServiceError(Exception):
    """A request that was refused, with a stable code, what was wrong and what to do.

    >>> ServiceError(Code.WORKFLOW_NOT_FOUND, "no workflow 'x'").status
    404
    """

    def __init__(self, code: Code, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details: dict[str, Any] = details

    @property
    def status(self) -> int:
        """The HTTP status that fits the code."""
        return STATUS[self.code]

    def body(self) -> ErrorBody:
        """The error as it crosses the wire."""
        return ErrorBody(code=self.code, message=self.message, details=self.details)
