"""Updates: admitted in memory, accepted and completed in the log. A rejected one writes nothing."""

from __future__ import annotations

from perdure_proto.errors import Code
from perdure_server.history import records as rec
from perdure_server.history import requests as req
from perdure_server.history.decision import NOTHING, Decision, Draft, Moment, OfferWorkflowTask, refuse
from perdure_server.history.fullness import refuse_news
from perdure_server.history.state import ExecutionState
from perdure_server.history.transitions.arrival import had_task, is_delayed, schedule_task


def admit(state: ExecutionState, request: req.AdmitUpdate, moment: Moment) -> Decision:
    """Holds an update for the workflow; a repeat by its id joins the one that is there."""
    update_id = request.delivery.update_id
    if update_id in state.updates or update_id in state.admitted:
        return NOTHING
    if not state.is_open:
        return refuse(Code.WORKFLOW_CLOSED, f"the run {state.run_id} is closed ({state.status})", status=state.status)
    if state.is_paused:
        return refuse(Code.WORKFLOW_PAUSED, f"the run {state.run_id} is paused: unpause it first")
    full = refuse_news(state, moment.limits)
    if full is not None:
        return full
    in_flight = len(state.admitted) + state.updates_open
    if in_flight >= moment.limits.updates_in_flight_max:
        return refuse(Code.RESOURCE_EXHAUSTED, f"{in_flight} updates are in flight, the most that a run may have")
    records: list[rec.AnyRecord] = [rec.UpdateAdmitted(delivery=request.delivery, identity=request.identity)]
    if is_delayed(state):  # a task of its own in the log: a first one cannot be dropped, whatever becomes of the update
        draft = Draft(state, moment)
        draft.records.extend(records)
        schedule_task(draft)
        return draft.decision()
    if state.workflow_task is not None or not had_task(state):
        return Decision(records=records)
    records.append(rec.TaskSpeculated(at=moment.now))
    return Decision(records=records, effects=[OfferWorkflowTask()])


def withdraw(state: ExecutionState, request: req.WithdrawUpdate, moment: Moment) -> Decision:
    """Forgets an update that no worker has seen."""
    update = state.admitted.get(request.update_id)
    if update is None or update.delivered:
        return NOTHING
    return Decision(records=[rec.UpdateDropped(update_id=request.update_id)])
