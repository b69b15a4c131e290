"""An activity that leaves its worker, for tests that kill the worker meanwhile."""

import sys
from datetime import timedelta

from perdure import activity, workflow

LEFT = "has left its worker"


@activity.defn(start_to_close_timeout=timedelta(minutes=1), retry_policy="fast", activity_id="the-question")
async def ask() -> str:
    """Says its attempt and its token."""
    sys.stdout.write(f"{LEFT} {activity.info().attempt} {activity.info().task_token.decode()}\n")
    sys.stdout.flush()
    activity.raise_complete_async()


@workflow.defn
async def asks() -> str:
    return await ask()
