"""Settings and limits of a history server: every bound has a name here, its unit and its default.

Flags go over `PERDURE_*` variables over a TOML file; `settings.py` of the command line reads them.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds that protect the service. Every breach is a named error that says the limit; nothing is lost."""

    history_events_max: int = 50_000
    history_events_suggest: int = 4_000
    history_events_reserved: int = 100
    history_bytes_max: int = 50 * 1024 * 1024
    history_bytes_suggest: int = 4 * 1024 * 1024
    payload_bytes_max: int = 2 * 1024 * 1024
    body_bytes_max: int = 8 * 1024 * 1024
    pending_activities_max: int = 10_000
    pending_children_max: int = 10_000
    pending_messages_max: int = 10_000
    signals_max: int = 10_000
    updates_in_flight_max: int = 100
    id_length_max: int = 255
    summary_bytes_max: int = 400
    details_bytes_max: int = 20 * 1024
    memo_bytes_max: int = 2 * 1024 * 1024
    search_attributes_max: int = 100
    search_attribute_bytes_max: int = 2 * 1024
    search_attributes_bytes_max: int = 40 * 1024
    carried_request_ids_max: int = 10_000
    carried_request_ids_for: timedelta = timedelta(minutes=10)
    long_poll_max: timedelta = timedelta(seconds=60)
    query_timeout_max: timedelta = timedelta(seconds=60)
    workflow_task_timeout: timedelta = timedelta(seconds=10)
    workflow_task_timeout_max: timedelta = timedelta(seconds=120)
    workflow_task_backoff_max: timedelta = timedelta(minutes=10)
    start_to_close_default: timedelta = timedelta(minutes=1)
    start_delay_max: timedelta = timedelta(days=36_500)
    secret_generations_max: int = 16
    connections_max: int = 20_000
    writes_under_way_max: int = 10_000
    reads_under_way_max: int = 5_000
    waits_under_way_max: int = 50_000
    work_under_way_max: int = 50_000
    bodies_bytes_max: int = 256 * 1024 * 1024
    body_within: timedelta = timedelta(seconds=30)
    unread_for_max: timedelta = timedelta(seconds=30)
    channel_unsent_bytes_max: int = 64 * 1024 * 1024


class EngineSettings(Struct, frozen=True, kw_only=True):
    """Windows and sizes of the engine; tests lower them until overflow, eviction and snapshots are walked through."""

    cached_executions_max: int = 50_000
    idle_after: timedelta = timedelta(seconds=1)
    evict_after: timedelta = timedelta(minutes=5)
    snapshot_events: int = 200
    queue_window_max: int = 100_000
    batch_rows_max: int = 500
    batch_bytes_max: int = 8 * 1024 * 1024
    commits_waiting_max: int = 10_000
    commits_waiting_bytes_max: int = 64 * 1024 * 1024
    work_waiting_max: int = 20_000
    work_waiting_bytes_max: int = 128 * 1024 * 1024
    deliveries_under_way_max: int = 500
    buffer_unacknowledged_for: timedelta = timedelta(milliseconds=50)
    look_ahead: timedelta = timedelta(seconds=60)
    scan_every: timedelta = timedelta(seconds=10)
    load_page: int = 500
    history_page_rows: int = 1_000
    activity_started_after: timedelta = timedelta(seconds=1)
    sticky_schedule_to_start: timedelta = timedelta(seconds=5)
    worker_quiet_max: timedelta = timedelta(seconds=1)
    worker_lost_after: timedelta = timedelta(seconds=10)
    outcome_looked_for_after: timedelta = timedelta(seconds=1)
    outcomes_page: int = 500
    secrets_read_every: timedelta = timedelta(seconds=10)


class ServerSettings(Struct, frozen=True, kw_only=True):
    """One server process."""

    name: str = "server-1"
    host: str = "127.0.0.1"
    port: int = 7233
    database_url: str = ""
    api_key: str = ""
    advertised_address: str = ""
    public_url: str = ""
    shards: int = 512
    group_id: int = 1
    heartbeat_every: timedelta = timedelta(seconds=0.5)
    lease: timedelta = timedelta(seconds=4)
    drain: timedelta = timedelta(seconds=10)
    log_format: str = "auto"
    log_level: str = "info"
    limits: Limits = Limits()
    engine: EngineSettings = EngineSettings()
