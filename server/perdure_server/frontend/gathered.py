"""Operations about what every server knows a part of: asked of all, and put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from perdure_proto.codec import encoder
from perdure_proto.service import DescribeTaskQueueAnswer, PollerInfo
from perdure_server.frontend.call import Call
from perdure_server.frontend.handlers import Desk
from perdure_server.frontend.others import NAMESPACES_PATH, TASK_QUEUE_PATH


class TaskQueueName(Struct, frozen=True):
    """Which task queue a server asks another about."""

    namespace: str
    name: str


async def describe_task_queue(desk: Desk, call: Call) -> Struct:
    """Of all servers together; who does not answer in time is named."""
    own = await desk.api.describe_task_queue(call.names[0], call.names[1])
    if desk.others is None:
        return own
    body = encoder.encode(TaskQueueName(call.names[0], call.names[1]))
    heard, silent = await desk.others.ask_all(TASK_QUEUE_PATH, body)
    answers = {name: _queue_answers.decode(answer) for name, answer in heard.items()}
    return merged({desk.others.server: own, **answers}, silent)


async def update_namespace(desk: Desk, call: Call) -> Struct:
    """Every server that can be reached knows of it when the answer comes; the rest look for themselves by and by."""
    changed = await desk.api.update_namespace(call.names[0], call.body)
    if desk.others is not None:
        await desk.others.ask_all(NAMESPACES_PATH, b"{}")
    return changed


def merged(answers: Mapping[str, DescribeTaskQueueAnswer], silent: Sequence[str]) -> DescribeTaskQueueAnswer:
    """One description of all: a worker is a poller once, however many servers it polls."""
    pollers: dict[str, PollerInfo] = {}
    for answer in answers.values():
        for poller in answer.pollers:
            known = pollers.get(poller.session)
            pollers[poller.session] = poller if known is None else _together(known, poller)
    return DescribeTaskQueueAnswer(
        name=next(iter(answers.values())).name,
        pollers=tuple(sorted(pollers.values(), key=lambda poller: (poller.identity, poller.session))),
        workflow_backlog=sum(answer.workflow_backlog for answer in answers.values()),
        activity_backlog=sum(answer.activity_backlog for answer in answers.values()),
        activities_per_second=max(answer.activities_per_second for answer in answers.values()),
        servers=tuple(sorted(answers)),
        silent=tuple(sorted(silent)),
    )


def _together(one: PollerInfo, other: PollerInfo) -> PollerInfo:
    """The same session at two servers: it offers the same free slots to both."""
    seen = [poller.last_seen for poller in (one, other) if poller.last_seen is not None]
    return msgspec.structs.replace(
        one,
        last_seen=max(seen, default=None),
        workflow_slots=max(one.workflow_slots, other.workflow_slots),
        activity_slots=max(one.activity_slots, other.activity_slots),
    )


_queue_answers = msgspec.json.Decoder(DescribeTaskQueueAnswer)
queue_names = msgspec.json.Decoder(TaskQueueName)
