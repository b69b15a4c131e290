"""`perdure server` and `perdure migrate`: one history server process, and its schema brought forward."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from perdure._collector import loading, settle_collector
from perdure.cli.exits import CommandError, Exit, usage_error
from perdure.cli.extras import need_extra
from perdure.cli.logs import configure_logs
from perdure.cli.processes import run_process, run_until_stopped
from perdure.cli.server_processes import run_servers
from perdure.cli.settings import SETTINGS, Role, as_variables, option, options, settings_of
from perdure.cli.settings_file import META_KEY, config_option

if TYPE_CHECKING:
    from perdure_server.config import ServerSettings

    Serve: TypeAlias = Callable[[ServerSettings], Awaitable[None]]

WHICH_POSTGRES = "say which Postgres: --database-url postgresql://user:password@host/database, or --embedded"


@click.command()
@options(*settings_of(Role.SERVER))
@config_option(Role.SERVER)
@click.pass_context
def server(ctx: click.Context, /, embedded: bool, data_dir: str, **values: Any) -> None:
    """Run one history server on your Postgres, or on an embedded one."""
    need_extra("embedded" if embedded else "server")
    from perdure.cli.server_settings import server_settings

    if bool(values["database_url"]) == embedded:
        raise usage_error(WHICH_POSTGRES if not embedded else "--embedded and --database-url exclude each other")
    settings = server_settings(values, ctx.meta.get(META_KEY, {}), os.environ)
    configure_logs(settings.log_format, settings.log_level, process="server")
    if values["processes"] > 1:
        os.environ.update(as_variables(values))
    serve = partial(run_servers, processes=values["processes"]) if values["processes"] > 1 else _serve
    if embedded:
        run_process(_serve_embedded(settings, Path(data_dir), serve))
    else:
        run_process(serve(settings))


@click.command()
@option(SETTINGS["database_url"])
@config_option(Role.SERVER)
def migrate(database_url: str | None) -> None:
    """Bring the database's schema to what this version needs."""
    need_extra("server")
    if not database_url:
        raise usage_error("say which database: --database-url postgresql://user:password@host/database")
    applied = run_process(migrate_database(database_url))
    for line in applied:
        click.echo(f"applied {line}")
    click.echo("the schema is up to date")


async def migrate_database(database_url: str) -> list[str]:
    """Apply what is missing and name it; whatever the database says against it is one clear error."""
    from perdure_server.store.migrate import SchemaError
    from perdure_server.store.migrate import migrate as apply

    try:
        return [f"{migration.version:04d} {migration.name}" for migration in await apply(database_url)]
    except SchemaError as error:
        raise CommandError(Exit.NOT_DONE, error.code.upper(), str(error)) from None
    except (OSError, TimeoutError) as error:
        raise CommandError(Exit.UNAVAILABLE, "DATABASE_UNAVAILABLE", f"cannot reach the database: {error}") from None
    except Exception as error:  # noqa: BLE001 - the driver's errors are known to the store alone; each is one line here
        raise CommandError(Exit.NOT_DONE, "DATABASE_REFUSED", f"the database refused: {error}") from None


async def _serve(settings: ServerSettings) -> None:
    with loading():
        from perdure_server.server import Server
        from perdure_server.store.migrate import SchemaError
    settle_collector()
    try:
        await run_until_stopped(Server(settings).run())
    except SchemaError as error:
        raise CommandError(Exit.NOT_DONE, error.code.upper(), str(error)) from None
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}:
            raise
        reason = os.strerror(error.errno)
        raise CommandError(
            Exit.NOT_DONE,
            "CANNOT_LISTEN",
            f"cannot listen on {settings.host}, port {settings.port}: {reason}; choose another --host or --port",
        ) from None


async def _serve_embedded(settings: ServerSettings, data_dir: Path, serve: Serve) -> None:
    import msgspec

    from perdure.cli.supervision.background import background
    from perdure.cli.supervision.postgres import kept_postgres
    from perdure.cli.supervision.voice import Voice

    voice = Voice(is_text=settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty()))
    with background() as tasks:
        async with kept_postgres(data_dir, voice, tasks) as dsn:
            await migrate_database(dsn)
            await serve(msgspec.structs.replace(settings, database_url=dsn))
