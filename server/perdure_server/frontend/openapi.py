"""The OpenAPI document, made from the routes, the wire's types and the examples: nothing in it is written twice.

It must not know how requests are served.
"""

from __future__ import annotations

import re
from typing import Any

from perdure_proto.errors import STATUS, ErrorBody
from perdure_server.frontend.examples import ANSWERS, PATH_NAMES, REQUESTS
from perdure_server.frontend.port import Readiness
from perdure_server.frontend.routes import PREFIX, ROUTES, Route
from perdure_server.frontend.schema import Schema, Schemas, plain

DESCRIPTION = (
    "Durable execution on Postgres. Fields are snake_case, values plain JSON, times RFC 3339, durations ISO 8601 or "
    "seconds. Names in paths are percent-encoded. A caller that gets `UNAVAILABLE`, `WRONG_OWNER` or "
    "`RESOURCE_EXHAUSTED` repeats the request with the same `request_id`."
)


def document(server_version: str) -> dict[str, Any]:
    """The whole document."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, schemas)
    ready = schemas.of(Readiness)
    paths["/readyz"] = {"get": _plain_get("readyz", "Whether the server can work: 200, or 503 and why not.", ready)}
    paths["/healthz"] = {"get": _plain_get("healthz", "Whether the process is alive.", {"type": "object"})}
    error = schemas.of(ErrorBody)
    return {
        "openapi": "3.1.0",
        "info": {"title": "perdure", "version": server_version, "description": DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {"Error": {"description": _error_text(), "content": {"application/json": {"schema": error}}}},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route, schemas)],
        "responses": {
            "200": {
                "description": "Done.",
                "content": _content(schemas.of(route.answer), plain(ANSWERS[route.name])),
            },
            "default": {"$ref": "#/components/responses/Error"},
        },
    }
    if route.request is not None:
        content = _content(schemas.of(route.request), plain(REQUESTS[route.name]))
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _content(schema: Schema, example: object) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "example": example}}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": PATH_NAMES[name]}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _query_parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": required, "schema": schema}
        for name, schema, required in schemas.fields(route.query)
    ]


def _plain_get(name: str, summary: str, schema: Schema) -> dict[str, Any]:
    answer = {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    return {"operationId": name, "summary": summary, "responses": {"200": answer}}


def _error_text() -> str:
    codes = ", ".join(f"`{code}` ({status})" for code, status in STATUS.items())
    return f"An error, with a stable code and its status: {codes}."
