"""HTTP answers: an encoded Struct, or an error with its status; nothing of aiohttp's own pages gets out.

It must not know what was asked.
"""

from __future__ import annotations

from math import ceil

import msgspec
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from perdure_proto.codec import encoder
from perdure_proto.errors import RETRY_AFTER, Code, ErrorBody, ServiceError
from perdure_server.config import Limits

HEADERS = CIMultiDictProxy(
    CIMultiDict(
        {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
    )
)

TOO_MANY_REQUESTS = 429
UNAVAILABLE = 503
NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
BAD_REQUEST = 400

_errors = msgspec.json.Decoder(ErrorBody)


def json_answer(body: bytes, status: int = 200) -> web.Response:
    """Encoded JSON as it is."""
    return web.Response(body=body, status=status, headers=HEADERS)


def error_answer(error: ServiceError) -> web.Response:
    """The error as every client gets it."""
    answer = json_answer(encoder.encode(error.body()), error.status)
    if error.code is Code.UNAUTHENTICATED:
        answer.headers["WWW-Authenticate"] = "Bearer"
    _ask_later(answer, error.details.get(RETRY_AFTER))
    return answer


def passed_answer(body: bytes, status: int) -> web.Response:
    """What another server said; the header that goes with a refusal for now is not passed on, and made anew."""
    answer = json_answer(body, status)
    if status in (TOO_MANY_REQUESTS, UNAVAILABLE):
        _ask_later(answer, _errors.decode(body).details.get(RETRY_AFTER))
    return answer


def _ask_later(answer: web.Response, seconds: object) -> None:
    if isinstance(seconds, int | float):
        answer.headers["Retry-After"] = str(ceil(seconds))  # HTTP knows whole seconds only


def as_service_error(error: web.HTTPException, limits: Limits) -> ServiceError | None:
    """What aiohttp refuses by itself, in our words; None for what is no refusal."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return body_too_large(limits.body_bytes_max)
    if error.status == NOT_FOUND:
        return ServiceError(Code.NOT_FOUND, "there is nothing at this path; see /api/openapi.json")
    if isinstance(error, web.HTTPMethodNotAllowed):
        return ServiceError(Code.METHOD_NOT_ALLOWED, f"{error.method} is not for this path")
    if error.status >= BAD_REQUEST:
        return ServiceError(Code.INVALID_ARGUMENT, f"the request is not valid: {error.reason}")
    return None


def body_too_large(maximum: int) -> ServiceError:
    """What a body over the limit is told."""
    return ServiceError(
        Code.BODY_TOO_LARGE, f"a request body has at most {maximum} bytes", limit="body_bytes_max", max=maximum
    )
