"""The settings of a history server: what the table gives, and the bounds `[limits]` and `[engine]`.

Bounds are declared by the Structs of `perdure_server.config`; each is a key of its table in the settings file and a
variable, such as `PERDURE_ENGINE_QUEUE_WINDOW_MAX`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar, cast

from msgspec import Struct
from msgspec.structs import fields

from perdure.cli.exits import usage_error
from perdure.cli.settings import PREFIX
from perdure_proto.durations import parse_duration
from perdure_server.config import EngineSettings, Limits, ServerSettings

Bounds = TypeVar("Bounds", bound=Struct)


def server_settings(
    values: Mapping[str, Any], document: Mapping[str, Any], environment: Mapping[str, str]
) -> ServerSettings:
    """The settings of one server process, refused when it would be open to others without a key."""
    known = {field.name for field in fields(ServerSettings)}
    given = {name: value for name, value in values.items() if name in known and value is not None}
    settings = ServerSettings(
        **given,
        limits=read_bounds(Limits, "limits", document, environment),
        engine=read_bounds(EngineSettings, "engine", document, environment),
    )
    refuse_open_door(settings)
    return settings


def refuse_open_door(settings: ServerSettings) -> None:
    """Whoever can reach the port can start code: beyond this machine only with a key."""
    if not settings.api_key and not is_loopback(settings.host):
        raise usage_error(
            f"refusing to listen on {settings.host} without an API key: set --api-key or PERDURE_API_KEY, "
            "or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_bounds(bounds: type[Bounds], name: str, document: Mapping[str, Any], environment: Mapping[str, str]) -> Bounds:
    """One Struct of bounds: variables over the table of the file over its defaults."""
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise usage_error(f"'{name}' in the settings file is a table: write [{name}]")
    told = dict(cast("Mapping[str, Any]", table))
    types = {field.name: field.type for field in fields(bounds)}
    for key in told:
        if key not in types:
            raise usage_error(f"the settings file: [{name}] has no setting '{key}'")
    for key in types:
        variable = f"{PREFIX}{name.upper()}_{key.upper()}"
        if variable in environment:
            told[key] = environment[variable]
    return bounds(**{key: _read_bound(f"{name}.{key}", types[key], value) for key, value in told.items()})


def _read_bound(name: str, wanted: type, value: object) -> object:
    try:
        return parse_duration(str(value)) if wanted is timedelta else int(str(value))
    except ValueError as error:
        raise usage_error(f"the setting {name}: {error}") from None
