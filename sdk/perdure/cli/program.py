"""The whole command: its groups, and how every end of a command becomes an exit status and one line on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import click

from perdure.cli.exits import CommandError, Exit, one_line, status_of
from perdure.cli.groups import Group
from perdure.cli.processes import INTERRUPTED
from perdure.exceptions import PerdureError, RPCError

INTERRUPTED_MEANING = "Ctrl-C ended it"
"""Of status 130, which is 128 and the number of the signal, as shells say it."""

LATER = ("schedule", "batch", "replay", "config")

COMMANDS = {
    "dev": "perdure.cli.dev",
    "server": "perdure.cli.server",
    "migrate": "perdure.cli.server",
    "worker": "perdure.cli.worker",
    "workflow": "perdure.cli.workflow",
    "activity": "perdure.cli.activity",
    "waitpoint": "perdure.cli.waitpoint",
    "namespace": "perdure.cli.namespace",
    "task-queue": "perdure.cli.task_queue",
    "cluster": "perdure.cli.cluster",
    "version": "perdure.cli.version",
    "reload-check": "perdure.cli.reload_check",
}

program: Group = Group(name="perdure", help="Durable execution for Python on Postgres.", later=LATER, modules=COMMANDS)
click.version_option(None, "--version", package_name="perdure", prog_name="perdure", message="%(prog)s %(version)s")(
    program
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit status."""
    try:
        outcome = program.main(args=arguments, prog_name="perdure", standalone_mode=False)
        return outcome if isinstance(outcome, int) else Exit.DONE
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        click.echo(help_wanted.format_message(), err=True)
        return Exit.USAGE
    except click.Abort:
        return _interrupted()
    except BrokenPipeError:
        # Whoever read our output has enough; what Python still wants to flush goes nowhere.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except (click.ClickException, CommandError, PerdureError) as error:
        status, line = explain(error)
        click.echo(f"error: {one_line(line)}", err=True)
        return status


def explain(error: Exception) -> tuple[Exit, str]:
    """The exit status of an expected error, and its line."""
    match error:
        case click.UsageError():
            where = f"; see '{error.ctx.command_path} --help'" if error.ctx else ""
            return Exit.USAGE, f"USAGE: {error.format_message().rstrip('.')}{where}"
        case click.ClickException():
            return Exit.USAGE, f"USAGE: {error.format_message()}"
        case CommandError():
            return error.status, str(error)
        case RPCError():
            return status_of(error.code), f"{error.code}: {error.message}"
        case PerdureError():
            return Exit.NOT_DONE, f"{type(error).__name__}: {error}"
        case _:
            raise error


def _interrupted() -> int:
    click.echo("interrupted", err=True)
    return INTERRUPTED
