"""`perdure workflow`: the group; its commands are beside it, by what they do to an execution."""

from __future__ import annotations

from perdure.cli.groups import Group
from perdure.cli.update_with_start import execute_update_with_start, start_update_with_start
from perdure.cli.workflow_back import reopen, reset
from perdure.cli.workflow_messages import cancel, query, resume, signal, stack, terminate, update, update_result
from perdure.cli.workflow_pause import pause, unpause
from perdure.cli.workflow_start import execute, result, signal_with_start, start
from perdure.cli.workflow_views import count, describe, list_workflows, show
from perdure.cli.workflow_waitpoints import waitpoints

workflow: Group = Group(
    name="workflow",
    help="Start workflows, watch them, send them messages, end them.",
    later=("delete", "trace", "why", "diff"),
)
for _command in (start, execute, result, list_workflows, count, describe, show, signal, query, update, update_result):
    workflow.add_command(_command)
for _command in (cancel, terminate, pause, unpause, reset, reopen, waitpoints, resume, stack, signal_with_start):
    workflow.add_command(_command)
for _command in (start_update_with_start, execute_update_with_start):
    workflow.add_command(_command)
