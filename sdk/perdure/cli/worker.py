"""`perdure worker`: runs the workflows and activities of files or modules, in one process or several."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from perdure._collector import loading
from perdure.cli.exits import usage_error
from perdure.cli.logs import configure_logs
from perdure.cli.settings import Role, as_variables, options, settings_of
from perdure.cli.settings_file import config_option

WORKER_OPTIONS = (
    "identity",
    "build_id",
    "max_concurrent_workflow_tasks",
    "max_concurrent_activities",
    "max_concurrent_local_activities",
    "max_cached_workflows",
    "max_task_queue_activities_per_second",
    "max_worker_activities_per_second",
    "database_url",
)
"""Settings that `Worker` takes under the same name."""


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="MODULE_OR_FILE[:OBJECT]...")
@click.option("--exit-with-parent", is_flag=True, hidden=True)
@options(*settings_of(Role.WORKER))
@config_option(Role.WORKER)
def worker(targets: tuple[str, ...], exit_with_parent: bool, **values: Any) -> None:
    """Run a worker: every workflow and activity of a file, or of the package that it belongs to."""
    with loading():
        from perdure_worker.process import ProcessOptions, ensure_hash_seed, run_supervisor, run_worker_process

    ensure_hash_seed(values["namespace"])
    configure_logs(values["log_format"], values["log_level"], process="worker")
    from perdure.cli.definitions import load_definitions

    load_definitions(targets)
    if values["processes"] > 1:
        os.environ.update(as_variables(values))
        command = [sys.executable, "-m", "perdure.cli", "worker", "--processes", "1", "--exit-with-parent", "--"]
        run_supervisor([*command, *targets], values["processes"])
        return
    given = {name: values[name] for name in WORKER_OPTIONS if values[name] is not None}
    process = ProcessOptions(
        targets=targets,
        address=values["address"],
        namespace=values["namespace"],
        api_key=values["api_key"],
        task_queue=values["task_queue"],
        graceful_shutdown_timeout=values["graceful_shutdown_timeout"],
        exit_with_parent=exit_with_parent,
        worker=given,
    )
    try:
        run_worker_process(process)
    except ValueError as error:
        raise usage_error(str(error)) from None
