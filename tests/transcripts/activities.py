"""Scenarios of activities: what ends their attempts, and attempts that are ended from elsewhere."""

from __future__ import annotations

from msgspec import Raw

from perdure_proto import commands as c
from perdure_proto.options import RetryPolicy
from perdure_server.history import requests as req
from tests.transcripts.scenarios import FAILURE, SECOND, pay, scenario
from tests.transcripts.script import Script


@scenario
def activity_runs_out_of_time() -> Script:
    """What ends an activity whose attempts are retried: no time for the next one, or nobody who takes it."""
    script = Script()
    whole = {"schedule_to_close_timeout": 10 * SECOND, "start_to_close_timeout": 6 * SECOND}
    patient = RetryPolicy(initial_interval=5 * SECOND)
    final = RetryPolicy(non_retryable_error_types=("TemporalTimeout:StartToClose",))
    script.turn(
        pay("no time for another", retry_policy=patient, **whole),
        pay("nobody takes the next", **whole),
        pay("its timeout is final", start_to_close_timeout=6 * SECOND, retry_policy=final),
        pay("fails late", retry_policy=patient, **whole),
    )
    for event_id in (5, 6, 7, 8):
        script.begin(event_id)
    script.ask(req.FailActivity(**script.attempt(6), failure=FAILURE))
    script.after(1).ask(req.RetryActivity(scheduled_event_id=6, attempt=2))
    script.after(5)
    for event_id in (5, 7):
        script.ask(req.TimeOutActivity(scheduled_event_id=event_id, attempt=1, timeout_type="START_TO_CLOSE"))
    script.ask(req.FailActivity(**script.attempt(8), failure=FAILURE))
    script.after(4).ask(req.TimeOutActivity(scheduled_event_id=6, attempt=2, timeout_type="SCHEDULE_TO_CLOSE"))
    return script


@scenario
def activity_detached() -> Script:
    """An attempt that is ended from elsewhere: no worker can give it back, and its deadlines go on."""
    script = Script()
    script.turn(pay("asks a person", heartbeat_timeout=5 * SECOND), pay("begun elsewhere"))
    script.begin(5)
    script.ask(req.DetachActivity(**script.attempt(5), identity="w1", session="w1"))
    script.ask(req.ReturnActivity(**script.attempt(5)))
    script.after(4).ask(req.HeartbeatActivity(**script.attempt(5), identity="clerk", details=Raw(b"[1]")))
    script.run.reload()
    script.ask(req.ReturnActivity(**script.attempt(5)))
    script.note("the start of the other was not kept: the report brings it")
    script.ask(req.DetachActivity(**script.attempt(6), identity="w1", session="w1"))
    script.ask(req.CompleteActivity(**script.attempt(6), identity="clerk"))
    script.turn(c.RequestCancelActivityTask(scheduled_event_id=5))
    script.ask(req.HeartbeatActivity(**script.attempt(5), identity="clerk"))
    script.after(6).ask(req.TimeOutActivity(scheduled_event_id=5, attempt=1, timeout_type="HEARTBEAT"))
    script.ask(req.DetachActivity(scheduled_event_id=5, attempt=1, started_at=script.run.now))
    return script
