"""Errors as callers get them."""

from __future__ import annotations

import structlog

from perdure_proto.errors import Code, ServiceError
from perdure_server.store.port import DataRefusedError, StoreUnavailableError

log = structlog.get_logger(__name__)


def refusal(error: Exception, method: str, target: str) -> ServiceError:
    """Whatever an operation raised, as the error that its caller gets; what nobody expected is logged, once."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, StoreUnavailableError):  # a read found Postgres away, or this server on its way out
        return ServiceError(Code.UNAVAILABLE, f"the database cannot be reached: {error}")
    if isinstance(error, DataRefusedError):
        return ServiceError(Code.VALUE_REFUSED, f"Postgres refuses a value of this request: {error}")
    log.error("request_failed", method=method, path=target.partition("?")[0], exc_info=error)
    return ServiceError(Code.INTERNAL, "the request failed on an error of the server; its log has it")
