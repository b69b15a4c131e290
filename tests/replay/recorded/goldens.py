"""The table: which runs are recorded for each line of the workflow model, and with what program they are replayed.

Most of them are tests of the battery, run once more; `drives` has what needs more than a stack. A golden is one file,
with every run that its drive began.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from opentelemetry.trace import NoOpTracer

from perdure.contrib.opentelemetry import TracingInterceptor
from perdure.exceptions import ApplicationError, CancelledError
from perdure.workflow import Workflow
from perdure_proto.events import AnyEvent, WorkflowExecutionFailed
from tests.integration.model import (
    test_async_activities,
    test_asyncio,
    test_attempts,
    test_cancellation,
    test_chains,
    test_children,
    test_dynamic,
    test_endings,
    test_external,
    test_going_back,
    test_local_activities,
    test_messages,
    test_notes,
    test_pause,
    test_priorities,
    test_processes,
    test_sagas,
    test_signal_with_start,
    test_standalone,
    test_transactions,
    test_updates,
    test_waitpoints,
)
from tests.programs import (
    going_back,
    in_processes,
    model_async,
    model_asyncio,
    model_attempts,
    model_cancellation,
    model_chains,
    model_children,
    model_dynamic,
    model_eager,
    model_endings,
    model_going_back,
    model_hosts,
    model_interceptors,
    model_local,
    model_messages,
    model_notes,
    model_priorities,
    model_sagas,
    model_standalone,
    model_tracing,
    model_transactions,
    model_updates,
    model_waitpoints,
)
from tests.replay.recorded import drives
from tests.replay.recorded.drives import Drive

HISTORIES: Final = Path(__file__).parent / "histories"


class Program(NamedTuple):
    """What a worker of a golden runs."""

    workflows: Sequence[Workflow[..., Any]]
    activities: Sequence[object]
    interceptors: Sequence[Any] = ()


class Golden(NamedTuple):
    """What is recorded once: a drive with its arguments, for a line of the model."""

    line: str
    program: Program
    drive: Drive
    args: tuple[Any, ...] = ()
    without_failed: bool = False
    """Runs that failed on a bug do not replay on the code that mends it: they are left out."""

    @property
    def name(self) -> str:
        words = [self.drive.__name__.removeprefix("test_"), *(_word(arg) for arg in self.args)]
        return "-".join(word for word in words if word)

    @property
    def file(self) -> Path:
        return HISTORIES / f"{self.name}.jsonl"

    def keeps(self, events: Sequence[AnyEvent]) -> bool:
        return not (self.without_failed and isinstance(events[-1], WorkflowExecutionFailed))


def _word(arg: object) -> str:
    """Of an argument what reads well in the name of a file: what is chosen, not what is expected."""
    text = arg if isinstance(arg, str) else getattr(arg, "__name__", "").removeprefix("test_")
    return text.replace(" ", "_") if re.fullmatch("[a-z_ ]+", text) else ""


def of(*modules: ModuleType, interceptors: Sequence[Any] = ()) -> Program:
    """All that these programs declare."""
    workflows = [one for module in modules for one in getattr(module, "WORKFLOWS", ())]
    workflows += [one for module in modules for one in getattr(module, "BROKEN", ())]
    activities = [one for module in modules for one in getattr(module, "ACTIVITIES", ())]
    return Program(workflows, activities, interceptors)


def goldens(line: str, program: Program, *drives: Drive | tuple[Any, ...]) -> list[Golden]:
    """Drives of one line, each alone or with its arguments."""
    every = [drive if isinstance(drive, tuple) else (drive,) for drive in drives]
    return [Golden(line, program, drive, tuple(args)) for drive, *args in every]


CHILDREN, ACROSS, UPDATES, STARTS, ACTIVITIES, LOCAL, STANDALONE = (
    "Children",
    "Across executions",
    "Updates complete",
    "Signal-with-start, start delay, eager start, upserts, summaries, details",
    "Activities complete",
    "Local activities",
    "Standalone activities",
)
CANCELLATION, CHAINS, PRIORITIES, DYNAMIC, SAGAS, RESET, PAUSE, INTERLEAVING = (
    "Cancellation",
    "Retry, cron and chains",
    "Priorities and fairness",
    "Dynamic, interceptors, headers, tracing",
    "Sagas, signal channels, waitpoints",
    "Reset",
    "Pause",
    "Exact interleaving",
)
LINES: Final = (
    *(CHILDREN, ACROSS, UPDATES, STARTS, ACTIVITIES, LOCAL, STANDALONE, CANCELLATION, CHAINS, PRIORITIES, DYNAMIC),
    *(SAGAS, RESET, PAUSE, INTERLEAVING),
)

_CANCELLED = (
    ("wait_cancellation_completed", "fails", "failed: Stuck: could not stop", ApplicationError),
    ("wait_cancellation_requested", "returns", "cancelled", None),
    ("try_cancel", "raises", "cancelled", CancelledError),
)
_BOOM = {"maximum_attempts": 2}
_BACK = of(model_going_back, going_back)

GOLDENS: Final = (
    *goldens(
        CHILDREN,
        of(model_children),
        test_children.test_a_child_can_be_called_in_every_form,
        test_children.test_a_child_runs_on_another_queue,
        test_children.test_a_child_that_fails_says_why,
        test_children.test_a_child_that_takes_too_long_times_out,
        test_children.test_a_child_that_is_terminated_ends_for_its_parent,
        test_children.test_an_id_that_runs_is_taken,
        test_children.test_a_parent_signals_its_child,
        (test_children.test_a_child_that_continues_as_new_is_one_child, "signal"),
        *((test_children.test_a_cancelled_child_is_waited_for_as_its_type_says, *args) for args in _CANCELLED),
        test_children.test_an_abandoned_child_hears_of_nothing,
        *(
            (test_children.test_a_parent_that_closes_leaves_its_child_to_its_policy, *args, "completes")
            for args in test_children.POLICIES
        ),
    ),
    *goldens(CHILDREN, of(model_chains), test_chains.test_a_child_may_have_a_schedule),
    *goldens(
        ACROSS,
        of(model_children),
        (drives.a_message_arrives_or_finds_nobody, "signal"),
        (drives.a_message_arrives_or_finds_nobody, "cancel"),
        (test_external.test_nobody_reaches_itself, "signal"),
        (test_external.test_the_child_of_another_can_be_reached, "cancel"),
    ),
    *goldens(
        UPDATES,
        of(model_updates),
        test_updates.test_an_update_brings_its_workflow_along,
        test_updates.test_a_refused_update_leaves_the_workflow_that_it_started,
        test_updates.test_a_workflow_that_returns_at_once_still_answers,
        test_updates.test_a_workflow_waits_for_its_handlers,
        test_updates.test_no_update_is_lost_to_continue_as_new,
        test_updates.test_an_update_outlives_its_worker,
    ),
    *goldens(
        STARTS,
        of(model_messages),
        test_signal_with_start.test_a_workflow_starts_with_its_signal,
        test_signal_with_start.test_every_start_adds_a_signal,
    ),
    *goldens(
        STARTS,
        of(model_chains),
        test_chains.test_a_start_delay_passes,
        (test_chains.test_a_message_ends_a_start_delay, "update"),
    ),
    *goldens(STARTS, of(model_eager), drives.eager_starts_and_turns),
    *goldens(
        STARTS,
        of(model_notes),
        test_notes.test_what_was_changed_goes_on_with_the_chain,
        test_notes.test_a_description_shows_what_a_workflow_does,
        test_notes.test_summaries_are_in_the_history,
    ),
    *goldens(
        ACTIVITIES,
        of(model_async),
        test_async_activities.test_a_token_completes_an_activity,
        test_async_activities.test_a_failure_is_tried_again,
        test_async_activities.test_a_cancel_request_is_heard_at_the_heartbeat,
    ),
    *goldens(
        ACTIVITIES,
        of(model_attempts),
        test_attempts.test_an_attempt_goes_on_where_the_last_one_failed,
        test_attempts.test_an_error_says_when_the_next_attempt_is,
        (
            test_attempts.test_the_last_deadline_ends_the_retries,
            "hangs",
            ["TIMEOUT", "SCHEDULE_TO_CLOSE", "START_TO_CLOSE"],
        ),
        (test_attempts.test_an_activity_is_cancelled_in_each_state, "unsent", "try_cancel"),
        (test_attempts.test_an_activity_is_cancelled_in_each_state, "waiting", "wait_cancellation_completed"),
        (test_attempts.test_an_activity_is_cancelled_in_each_state, "running", "wait_cancellation_completed"),
        (test_attempts.test_an_activity_is_cancelled_in_each_state, "backing off", "abandon"),
    ),
    *goldens(ACTIVITIES, of(in_processes), test_processes.test_a_workflow_calls_them_as_any_other),
    *goldens(ACTIVITIES, of(model_hosts), drives.steps_stay_with_one_worker),
    *goldens(
        ACTIVITIES,
        of(model_transactions),
        (drives.with_payments, test_transactions.test_rows_and_completion_commit_together),
        (drives.with_payments, test_transactions.test_what_raises_leaves_no_rows, True),
        (drives.with_payments, test_transactions.test_a_block_that_failed_may_be_answered_otherwise),
        (drives.with_payments, test_transactions.test_a_cancelled_transaction_leaves_no_rows),
    ),
    *goldens(
        LOCAL,
        of(model_local),
        test_local_activities.test_one_may_outlast_several_tasks,
        test_local_activities.test_a_long_pause_is_a_timer,
        (
            test_local_activities.test_one_that_fails_for_good_says_why,
            "attempts",
            "MAXIMUM_ATTEMPTS_REACHED Named: no",
            3,
        ),
        test_local_activities.test_local_ones_mix_with_others,
        (test_local_activities.test_one_that_runs_is_cancelled, "try_cancel", "coroutine", "cancelled"),
        (test_local_activities.test_one_that_pauses_is_cancelled, "try_cancel"),
    ),
    *goldens(
        STANDALONE,
        of(model_standalone),
        test_standalone.test_a_call_is_run,
        test_standalone.test_it_is_tried_again,
        test_standalone.test_it_is_cancelled_while_it_runs,
    ),
    *goldens(
        CANCELLATION,
        of(model_cancellation),
        (test_cancellation.test_a_shielded_activity_is_used_after_the_cancellation, "activity"),
        test_cancellation.test_a_shielded_child_is_used_after_the_cancellation,
        test_cancellation.test_a_shielded_signal_is_sent_though_the_request_came_first,
        test_cancellation.test_a_workflow_cancelled_before_its_first_task_cleans_up,
        *(
            (test_cancellation.test_the_request_comes_together_with_the_end_of_a_wait, *case, first)
            for case in test_cancellation.TOGETHER
            for first in ("request", "end")
        ),
        test_cancellation.test_the_request_comes_together_with_a_fired_timer,
        (test_cancellation.test_another_exception_fails_a_workflow_that_was_asked_to_stop, "fails", "Stuck"),
        test_cancellation.test_a_workflow_that_stays_completes,
        test_cancellation.test_a_second_request_adds_nothing,
        test_cancellation.test_children_and_activities_hear_of_it,
        (test_cancellation.test_everything_within_is_asked_to_stop, "wait"),
    ),
    *goldens(
        CHAINS,
        of(model_chains),
        test_chains.test_each_attempt_knows_the_one_before,
        (test_chains.test_the_last_attempt_says_why_it_is_the_last, "Boom", _BOOM, "MAXIMUM_ATTEMPTS_REACHED", 2),
        test_chains.test_cron_runs_again_and_again,
        test_chains.test_cron_goes_on_after_a_failure,
        (test_chains.test_continue_as_new_with_options, "function"),
        test_chains.test_the_execution_timeout_ends_the_chain,
        test_chains.test_a_backoff_can_be_cancelled,
    ),
    *goldens(CHAINS, of(model_endings), test_endings.test_signals_that_were_not_taken_go_on_to_the_next_run),
    *goldens(
        PRIORITIES,
        of(model_priorities),
        test_priorities.test_the_most_urgent_goes_first,
        test_priorities.test_a_child_has_the_priority_of_its_parent,
    ),
    *goldens(
        DYNAMIC,
        of(model_dynamic),
        test_dynamic.test_a_type_that_nobody_declared_runs,
        test_dynamic.test_a_declared_type_comes_first,
    ),
    *goldens(
        DYNAMIC, of(model_interceptors, interceptors=[model_interceptors.Tenants()]), drives.headers_go_everywhere
    ),
    *goldens(DYNAMIC, of(model_tracing, interceptors=[TracingInterceptor(NoOpTracer())]), drives.an_order_is_traced),
    *goldens(
        SAGAS,
        of(model_sagas),
        test_sagas.test_a_trip_that_fails_is_undone_backwards,
        test_sagas.test_a_cancelled_trip_is_undone,
        test_sagas.test_what_cannot_be_undone_is_told,
    ),
    *goldens(
        SAGAS,
        of(model_messages),
        (test_messages.test_a_channel_keeps_signals_in_order, 0.1),
        test_messages.test_a_channel_loses_nothing_to_who_stops_waiting,
    ),
    *goldens(
        SAGAS,
        of(model_waitpoints),
        test_waitpoints.test_whoever_has_the_url_completes_it,
        test_waitpoints.test_its_time_may_be_over,
        test_waitpoints.test_a_value_of_another_type_is_told_to_the_workflow,
    ),
    *goldens(
        RESET,
        _BACK,
        test_going_back.test_back_to_before_an_activity,
        test_going_back.test_updates_and_signals_are_told_again,
        test_going_back.test_what_is_excluded_is_not_told_again,
        test_going_back.test_children_before_and_after_the_point,
        test_going_back.test_an_earlier_run_of_a_chain_is_gone_back_to,
        drives.back_to_the_last_task,
    ),
    *(
        golden._replace(without_failed=True)
        for golden in goldens(
            RESET,
            _BACK,
            (drives.with_a_bug, test_going_back.test_a_failed_workflow_goes_on_with_repaired_code),
            (drives.with_a_bug, test_going_back.test_a_parked_workflow_is_tried_at_once),
        )
    ),
    *goldens(
        PAUSE,
        of(model_going_back),
        test_pause.test_a_paused_workflow_takes_signals_and_queries_and_no_updates,
        test_pause.test_a_timer_does_not_fire_while_the_workflow_is_paused,
        drives.paused_before_the_first_task,
        drives.activities_are_controlled,
    ),
    *goldens(
        INTERLEAVING,
        of(model_asyncio),
        *((test_asyncio.has_outcome, name) for name in sorted(model_asyncio.EXPECTED)),
    ),
)
