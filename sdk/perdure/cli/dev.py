"""`perdure dev`: everything on one machine: Postgres, a server with its pages, and a worker that reloads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from perdure.cli.extras import need_extra
from perdure.cli.processes import run_process
from perdure.cli.settings import Role, options, settings_of
from perdure.cli.settings_file import config_option


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--no-worker", is_flag=True, help="Run no worker: start one of your own.")
@options(*settings_of(Role.DEV))
@config_option(Role.DEV)
def dev(files: tuple[str, ...], no_worker: bool, **values: Any) -> None:
    """Run everything on this machine. FILE holds workflows and activities; it is reloaded when it changes."""
    need_extra("embedded")
    from perdure.cli.dev_machine import DevMachine, DevOptions
    from perdure.cli.supervision.voice import Voice

    log_format = values["log_format"]
    is_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    machine = DevOptions(
        files=() if no_worker else files,
        port=values["port"],
        data_dir=Path(values["data_dir"]),
        task_queue=values["task_queue"],
        namespace=values["namespace"],
        processes=values["processes"],
        api_key=values["api_key"] or "",
        log_level=values["log_level"],
    )
    run_process(DevMachine(machine, Voice(is_text=is_text)).run())
