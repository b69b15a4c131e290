"""One function for each operation that takes more than passing a call on: waits are bounded here.

Handlers know the types of the wire and the seam; they must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
from msgspec import Struct

from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import UpdateWithStartRequest, UpdateWorkflowRequest, VersionAnswer
from perdure_server.config import Limits
from perdure_server.frontend.call import Call, OutcomeParameters
from perdure_server.frontend.others import Others
from perdure_server.frontend.port import Api, Cluster, OutcomeWait

Handler = Callable[["Desk", Call], Awaitable[Struct | None]]


class Desk(Struct, frozen=True):
    """Whom a handler asks, the bounds it keeps, and what the server says of itself."""

    api: Api
    limits: Limits
    version: VersionAnswer
    cluster: Cluster
    others: Others | None = None


def bounded(wait: timedelta, longest: timedelta) -> timedelta:
    """A wait that a caller asks for, no longer than the service allows."""
    return min(max(wait, timedelta(0)), longest)


def start_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.start_workflow(call.names[0], call.names[1], call.body)


def signal_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.signal_workflow(call.names[0], call.names[1], call.names[2], call.body)


def cancel_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.cancel_workflow(call.names[0], call.names[1], call.body)


def terminate_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.terminate_workflow(call.names[0], call.names[1], call.body)


def pause_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.pause_workflow(call.names[0], call.names[1], call.body)


def unpause_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.unpause_workflow(call.names[0], call.names[1], call.body)


def reset_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.reset_workflow(call.names[0], call.names[1], call.body)


def reopen_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.reopen_workflow(call.names[0], call.names[1], call.body)


def pause_activity(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.pause_activity((call.names[0], call.names[1], call.names[2]), call.body)


def unpause_activity(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.unpause_activity((call.names[0], call.names[1], call.names[2]), call.body)


def reset_activity(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.reset_activity((call.names[0], call.names[1], call.names[2]), call.body)


def update_activity_options(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.update_activity_options((call.names[0], call.names[1], call.names[2]), call.body)


def resume_waitpoint(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.resume_waitpoint(call.names[0], call.body)


def rotate_waitpoint_secret(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.rotate_waitpoint_secret(call.body)


def waitpoint_settings(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.waitpoint_settings(call.names[0])


def query_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    timeout = bounded(call.body.timeout, desk.limits.query_timeout_max)
    body = msgspec.structs.replace(call.body, timeout=timeout)
    return desk.api.query_workflow(call.names[0], call.names[1], call.names[2], body)


def update_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    wait = bounded(call.body.wait, desk.limits.long_poll_max)
    body = msgspec.structs.replace(call.body, wait=wait)
    return desk.api.update_workflow(call.names[0], call.names[1], call.names[2], body)


def update_with_start(desk: Desk, call: Call) -> Awaitable[Struct]:
    wait = bounded(call.body.update.wait, desk.limits.long_poll_max)
    return desk.api.update_with_start(call.names[0], call.names[1], call.names[2], _waiting(call.body, wait))


def _waiting(body: UpdateWithStartRequest, wait: timedelta) -> UpdateWithStartRequest:
    return msgspec.structs.replace(body, update=msgspec.structs.replace(body.update, wait=wait))


def update_outcome(desk: Desk, call: Call) -> Awaitable[Struct]:
    wait = bounded(call.query.wait, desk.limits.long_poll_max).total_seconds()
    options = OutcomeWait(run_id=call.query.run_id, stage=call.query.wait_for_stage, wait_s=wait)
    return desk.api.update_outcome(call.names[0], call.names[1], call.names[2], options)


def workflow_result(desk: Desk, call: Call) -> Awaitable[Struct]:
    wait = bounded(call.query.wait, desk.limits.long_poll_max).total_seconds()
    return desk.api.workflow_result(call.names[0], call.names[1], call.query.run_id, wait)


def history(desk: Desk, call: Call) -> Awaitable[Struct]:
    wait = bounded(call.query.wait, desk.limits.long_poll_max).total_seconds()
    return desk.api.history(call.names[0], call.names[1], call.query.run_id, call.query.after, wait)


def describe_workflow(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.describe_workflow(call.names[0], call.names[1], call.query.run_id)


def start_activity(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.start_activity(call.names[0], call.names[1], call.body)


def cancel_activity(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.cancel_activity(call.names[0], call.names[1], call.body)


def terminate_activity(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.terminate_activity(call.names[0], call.names[1], call.body)


def activity_result(desk: Desk, call: Call) -> Awaitable[Struct]:
    wait = bounded(call.query.wait, desk.limits.long_poll_max).total_seconds()
    return desk.api.activity_result(call.names[0], call.names[1], call.query.run_id, wait)


def describe_activity(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.describe_activity(call.names[0], call.names[1], call.query.run_id)


def list_activities(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.list_activities(call.names[0], call.query.query, call.query.limit, call.query.cursor)


def count_activities(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.count_activities(call.names[0], call.query.query)


def list_workflows(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.list_workflows(call.names[0], call.query.query, call.query.limit, call.query.cursor)


def count_workflows(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.count_workflows(call.names[0], call.query.query)


def complete_activity(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.complete_activity(call.names[0], call.body)


def fail_activity(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.fail_activity(call.names[0], call.body)


def report_activity_cancellation(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.report_activity_cancellation(call.names[0], call.body)


def heartbeat_activity(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.heartbeat_activity(call.names[0], call.body)


def poll(desk: Desk, call: Call) -> Awaitable[Struct]:
    body = call.body
    if not timedelta(0) <= body.wait <= desk.limits.long_poll_max:
        body = msgspec.structs.replace(body, wait=bounded(body.wait, desk.limits.long_poll_max))
    return desk.api.poll(call.names[0], call.names[1], body)


def respond(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.respond(call.names[0], call.names[1], call.body)


def leave(desk: Desk, call: Call) -> Awaitable[None]:
    return desk.api.leave(call.names[0], call.names[1], call.body)


def create_namespace(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.create_namespace(call.names[0], call.body)


def describe_namespace(desk: Desk, call: Call) -> Awaitable[Struct]:
    return desk.api.describe_namespace(call.names[0])


def list_namespaces(desk: Desk, _: Call) -> Awaitable[Struct]:
    return desk.api.list_namespaces()


async def version(desk: Desk, _: Call) -> Struct:
    return desk.version


async def describe_cluster(desk: Desk, _: Call) -> Struct:
    return desk.cluster.answer()


def without_wait(handler: Handler, call: Call) -> tuple[Handler, Call] | None:
    """The call that a long poll becomes when the server drains: the same question, answered at once.

    None: it has to be let go on, for asking again would be asking twice.
    """
    if isinstance(call.body, UpdateWorkflowRequest):
        body = call.body
        if not body.update_id:
            return None
        query = OutcomeParameters(run_id=body.run_id, wait_for_stage=body.wait_for_stage)
        return _outcome_or_again, Call([*call.names[:2], body.update_id], query, None)
    if isinstance(call.body, UpdateWithStartRequest):
        repeatable = call.body.start.request_id and call.body.update.update_id
        at_once = _waiting(call.body, timedelta(0))
        return (handler, Call(call.names, call.query, at_once)) if repeatable else None
    return handler, Call(call.names, msgspec.structs.replace(call.query, wait=timedelta(0)), call.body)


async def _outcome_or_again(desk: Desk, call: Call) -> Struct:
    """An update that was not admitted yet is admitted by another server: its id makes that safe."""
    try:
        return await update_outcome(desk, call)
    except ServiceError as error:
        if error.code is Code.UPDATE_NOT_FOUND:
            raise ServiceError(Code.UNAVAILABLE, "this server is going away: repeat the update elsewhere") from None
        raise
