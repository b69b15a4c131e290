"""Events that mean the same to whoever handles them: what closes an activity or a child, what answers whom."""

from __future__ import annotations

from perdure_proto import events as ev

CLOSES_ACTIVITY = (
    ev.ActivityTaskCompleted,
    ev.ActivityTaskFailed,
    ev.ActivityTaskTimedOut,
    ev.ActivityTaskCanceled,
)
CLOSES_CHILD = (
    ev.ChildWorkflowExecutionCompleted,
    ev.ChildWorkflowExecutionFailed,
    ev.ChildWorkflowExecutionCanceled,
    ev.ChildWorkflowExecutionTimedOut,
    ev.ChildWorkflowExecutionTerminated,
)
ANSWERS_CHILD_START = (ev.ChildWorkflowExecutionStarted, ev.StartChildWorkflowExecutionFailed)
ANSWERS_MESSAGE = (
    ev.SignalExternalWorkflowExecutionFailed,
    ev.ExternalWorkflowExecutionSignaled,
    ev.RequestCancelExternalWorkflowExecutionFailed,
    ev.ExternalWorkflowExecutionCancelRequested,
)
