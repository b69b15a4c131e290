"""Every setting of `perdure`, declared once: options, variables, the settings file and the reference come from here.

A flag goes over a `PERDURE_*` variable, that over the settings file, that over the default. Bounds of the server
(`[limits]`, `[engine]`) are declared where they are used, in `perdure_server.config`; `server_settings` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from perdure_proto.durations import format_duration, parse_duration

PREFIX = "PERDURE_"


class Role(StrEnum):
    """What a setting is for; also the name of its table in the settings file."""

    CLIENT = "client"
    WORKER = "worker"
    SERVER = "server"
    DEV = "dev"


if TYPE_CHECKING:
    AnyType: TypeAlias = click.ParamType[Any]
    DurationBase: TypeAlias = click.ParamType[timedelta]
else:  # generic only in later versions of click
    AnyType = DurationBase = click.ParamType


class DurationType(DurationBase):
    """A duration such as `10s`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = DurationType()
OUTPUT_FORMATS = ("text", "json", "jsonl")
LOG_FORMATS = ("auto", "text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
PORT = click.IntRange(0, 65_535)
COUNT = click.IntRange(1)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting: its name, what it takes, its default and whom it concerns."""

    name: str
    help: str
    roles: frozenset[Role]
    type: AnyType = click.STRING
    default: object = None

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def shown_default(self) -> str:
        """The default as the reference shows it; empty where there is none."""
        if isinstance(self.default, timedelta):
            return format_duration(self.default)
        return "" if self.default is None else str(self.default).lower() if self.is_switch else str(self.default)

    @property
    def is_switch(self) -> bool:
        return self.type is click.BOOL


_EVERY = frozenset(Role)
_CLIENT = frozenset({Role.CLIENT})
_CALLERS = frozenset({Role.CLIENT, Role.WORKER})
_WORKER = frozenset({Role.WORKER})
_WORKERS = frozenset({Role.WORKER, Role.DEV})
_SERVER = frozenset({Role.SERVER})
_SERVERS = frozenset({Role.SERVER, Role.DEV})
_PROCESSES = frozenset({Role.WORKER, Role.SERVER, Role.DEV})

_ROWS = (
    Setting(
        name="address",
        help="Where the service is; several servers of one cluster with commas between them.",
        roles=_CALLERS,
        default="http://127.0.0.1:7233",
    ),
    Setting(name="namespace", help="The namespace.", roles=_CALLERS | _WORKERS, default="default"),
    Setting(name="api_key", help="The key that callers show and the server asks for.", roles=_EVERY),
    Setting(
        name="output",
        help="How results are written; jsonl is one JSON value a line.",
        roles=_CLIENT,
        type=click.Choice(OUTPUT_FORMATS),
        default="text",
    ),
    Setting(
        name="task_queue",
        help="The task queue that workflows are started on and the worker polls.",
        roles=_CALLERS | _WORKERS,
        default="default",
    ),
    Setting(
        name="processes",
        help="How many processes: of the worker, or servers that share the shards on this host, the first on the port "
        "and each other on the next.",
        roles=_PROCESSES,
        type=COUNT,
        default=1,
    ),
    Setting(name="identity", help="Who acts, in histories and lists; by default pid@host.", roles=_CALLERS),
    Setting(name="build_id", help="The version of the code; by default a hash of its source.", roles=_WORKER),
    Setting(
        name="max_concurrent_workflow_tasks",
        help="Workflow tasks that one worker process runs at once.",
        roles=_WORKER,
        type=COUNT,
        default=100,
    ),
    Setting(
        name="max_concurrent_activities",
        help="Activities that one worker process runs at once.",
        roles=_WORKER,
        type=COUNT,
        default=100,
    ),
    Setting(
        name="max_concurrent_local_activities",
        help="Local activities that one worker process runs at once.",
        roles=_WORKER,
        type=COUNT,
        default=100,
    ),
    Setting(
        name="max_cached_workflows",
        help="Workflows that one worker process keeps in memory.",
        roles=_WORKER,
        type=click.IntRange(0),
        default=1_000,
    ),
    Setting(
        name="max_task_queue_activities_per_second",
        help="Activities that the service hands out from the queue in a second, to all its workers.",
        roles=_WORKER,
        type=click.FLOAT,
    ),
    Setting(
        name="max_worker_activities_per_second",
        help="Activities that one worker process starts in a second; no limit by default.",
        roles=_WORKER,
        type=click.FLOAT,
    ),
    Setting(
        name="graceful_shutdown_timeout",
        help="How long running activities may go on after SIGTERM.",
        roles=_WORKER,
        type=DURATION,
        default=timedelta(seconds=10),
    ),
    Setting(
        name="database_url",
        help="The Postgres that holds everything: postgresql://user:password@host:5432/database. "
        "A worker needs it for activities with transactions only.",
        roles=_SERVER | _WORKER,
    ),
    Setting(
        name="embedded",
        help="Run an embedded Postgres instead of one of your own.",
        roles=_SERVER,
        type=click.BOOL,
        default=False,
    ),
    Setting(
        name="data_dir",
        help="The data folder of the embedded Postgres.",
        roles=_SERVERS,
        type=click.Path(file_okay=False),
        default="./.perdure",
    ),
    Setting(
        name="host",
        help="The address to listen on; another than loopback needs an API key.",
        roles=_SERVER,
        default="127.0.0.1",
    ),
    Setting(
        name="advertised_address",
        help="Where other servers, clients and workers reach this one; by default http:// with host and port.",
        roles=_SERVER,
    ),
    Setting(
        name="public_url",
        help="The address by which others reach the service; the URLs of waitpoints begin with it.",
        roles=_SERVER,
    ),
    Setting(name="port", help="The port to listen on; 0 takes a free one.", roles=_SERVERS, type=PORT, default=7233),
    Setting(name="name", help="The name of this server; no two may share one.", roles=_SERVER, default="server-1"),
    Setting(
        name="shards",
        help="The number of shards; fixed when the cluster is created.",
        roles=_SERVER,
        type=COUNT,
        default=512,
    ),
    Setting(
        name="heartbeat_every",
        help="How often the server says that it lives.",
        roles=_SERVER,
        type=DURATION,
        default=timedelta(seconds=0.5),
    ),
    Setting(
        name="lease",
        help="How long a silent server keeps its shards.",
        roles=_SERVER,
        type=DURATION,
        default=timedelta(seconds=4),
    ),
    Setting(
        name="drain",
        help="How long requests may go on after SIGTERM.",
        roles=_SERVER,
        type=DURATION,
        default=timedelta(seconds=10),
    ),
    Setting(
        name="log_format",
        help="auto is text on a terminal and JSON otherwise.",
        roles=_PROCESSES,
        type=click.Choice(LOG_FORMATS),
        default="auto",
    ),
    Setting(
        name="log_level",
        help="The least level written.",
        roles=_PROCESSES,
        type=click.Choice(LOG_LEVELS),
        default="info",
    ),
)

SETTINGS: MappingProxyType[str, Setting] = MappingProxyType({row.name: row for row in _ROWS})
"""Every setting by its name."""


def settings_of(role: Role) -> list[Setting]:
    """The settings that concern a role, in the order of the table."""
    return [setting for setting in _ROWS if role in setting.roles]


def as_variables(values: Mapping[str, Any]) -> dict[str, str]:
    """Settings for a child: in its environment, where no list of processes shows a key."""
    told = {SETTINGS[name].variable: value for name, value in values.items() if value is not None}
    return {
        name: f"{value.total_seconds()}s" if isinstance(value, timedelta) else str(value)
        for name, value in told.items()
    }


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def option(setting: Setting) -> Callable[[Decorated], Decorated]:
    """The click option of a setting. The settings file comes in as click's `default_map`."""
    flags = f"{setting.flag}/--no-{setting.flag[2:]}" if setting.is_switch else setting.flag
    return click.option(
        flags,
        setting.name,
        type=setting.type,
        default=setting.shown_default if isinstance(setting.default, timedelta) else setting.default,
        show_default=setting.default is not None and not setting.is_switch,
        envvar=setting.variable,
        help=setting.help,
    )


def options(*settings: Setting) -> Callable[[Decorated], Decorated]:
    """The click options of several settings, listed in this order."""

    def decorate(function: Decorated) -> Decorated:
        for setting in reversed(settings):
            function = option(setting)(function)
        return function

    return decorate
