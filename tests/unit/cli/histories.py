"""A small history for tests of what is printed: an activity that fails once and for all, a timer, a signal."""

from datetime import UTC, datetime, timedelta

from msgspec import Raw

from perdure_proto.events import (
    ActivityTaskCompleted,
    ActivityTaskFailed,
    ActivityTaskScheduled,
    ActivityTaskStarted,
    AnyEvent,
    TimerFired,
    TimerStarted,
    WorkflowExecutionCompleted,
    WorkflowExecutionSignaled,
    WorkflowExecutionStarted,
)
from perdure_proto.failures import ActivityFailure, ApplicationFailure, Failure

BEGAN_AT = datetime(2030, 1, 1, tzinfo=UTC)

DECLINED = Failure(
    message="activity charge failed",
    info=ActivityFailure(scheduled_event_id=5, activity_type="charge"),
    cause=Failure(
        message="card declined",
        info=ApplicationFailure(type="CardError", details=Raw(b'["4242"]')),
        stack_trace=(
            "Traceback (most recent call last):\n"
            '  File "shop.py", line 3, in charge\n'
            '    raise CardError("card declined")\n'
        ),
    ),
)


def at(milliseconds: int) -> datetime:
    return BEGAN_AT + timedelta(milliseconds=milliseconds)


def order_history() -> list[AnyEvent]:
    """A run that greets, waits, is signalled, and survives a failed charge."""
    return [
        WorkflowExecutionStarted(
            event_id=1,
            event_time=at(0),
            workflow_type="order",
            task_queue="default",
            input=Raw(b'["Ada"]'),
            kwargs=Raw(b'{"gift":true}'),
            original_execution_run_id="r",
            first_execution_run_id="r",
        ),
        ActivityTaskScheduled(
            event_id=2,
            event_time=at(10),
            activity_id="1",
            activity_type="greet",
            input=Raw(b'["Ada"]'),
            start_to_close_timeout=timedelta(seconds=90),
            workflow_task_completed_event_id=1,
        ),
        ActivityTaskStarted(event_id=3, event_time=at(20), scheduled_event_id=2),
        ActivityTaskCompleted(
            event_id=4, event_time=at(30), scheduled_event_id=2, started_event_id=3, result=Raw(b'"Hello, Ada!"')
        ),
        ActivityTaskScheduled(
            event_id=5, event_time=at(40), activity_id="2", activity_type="charge", workflow_task_completed_event_id=1
        ),
        ActivityTaskFailed(
            event_id=6,
            event_time=at(50),
            scheduled_event_id=5,
            started_event_id=0,
            failure=DECLINED,
            retry_state="MAXIMUM_ATTEMPTS_REACHED",
        ),
        TimerStarted(
            event_id=7,
            event_time=at(60),
            timer_id="1",
            start_to_fire_timeout=timedelta(seconds=2),
            workflow_task_completed_event_id=1,
        ),
        TimerFired(event_id=8, event_time=at(2060), timer_id="1", started_event_id=7),
        WorkflowExecutionSignaled(event_id=9, event_time=at(3000), signal_name="approve", input=Raw(b"[true]")),
        WorkflowExecutionCompleted(event_id=10, event_time=at(3100), workflow_task_completed_event_id=1),
    ]
