-- Parts of the one commit statement. A variant is the parts that a batch needs, joined to one `with`;
-- commit_statement.py numbers the parameters: `$wakes_owed` becomes the next free number wherever it stands.
--
-- One plan serves all sizes of batch and table, so nothing is left to the planner's beliefs about them. `(x in (…)) is
-- true` is one hash table where `x in (…)` is a join, quadratic as a nested loop. Rows to change are found by `ctid`, from
-- a subquery by primary key: as a join, a small table is read whole for each row, and plans made on it stay. `offset 0` keeps a subquery as it is.
--
-- Every part reads `fence`, so nothing is written without it. A run with an append in the batch is `gated`: its rows
-- go in only if the append was accepted. Chain and fence are the two fences of the architecture:
--   chain  a zombie cache, or a Postgres that lost commits, appends after an event that is not the last: no row.
--   fence  a taker locks the row for update, so it waits for what is in flight; what comes later waits for the taker,
--          then finds another epoch: no row anywhere.

-- name: hold_fence
fence as materialized (
  select 1 as held from fences where group_id = $group_id::int and server = $server::text and epoch = $epoch::bigint
  for key share
)

-- name: append_continued
continued as (
  insert into history (group_id, shard_id, run_id, first_event_id, last_event_id, events)
  select $group_id::int, a.shard_id, a.run_id, a.first_event_id, a.last_event_id, a.events
  from fence, unnest($continued_shard_id::int[], $continued_run_id::uuid[], $continued_previous::int[],
    $continued_first::int[], $continued_last::int[], $continued_events::json[])
    as a(shard_id, run_id, previous, first_event_id, last_event_id, events)
  -- A scalar subquery, not exists: it reads one index entry a row whatever the planner believes.
  where (select h.last_event_id from history as h where h.group_id = $group_id::int and h.shard_id = a.shard_id
    and h.run_id = a.run_id and h.first_event_id = a.previous) = a.first_event_id - 1
  on conflict do nothing
  returning run_id
)

-- name: claim_free
claimed_free as (
  insert into current_executions (group_id, shard_id, namespace_id, workflow_id, run_id)
  select $group_id::int, c.shard_id, c.namespace_id, c.workflow_id, c.run_id
  from fence, unnest($free_shard_id::int[], $free_namespace_id::int[], $free_workflow_id::text[], $free_run_id::uuid[])
    as c(shard_id, namespace_id, workflow_id, run_id)
  on conflict do nothing
  returning run_id
)

-- name: claim_replaced
claimed_replaced as (
  update current_executions as x set run_id = c.run_id
  from fence, unnest($replaced_shard_id::int[], $replaced_namespace_id::int[], $replaced_workflow_id::text[],
    $replaced_run_id::uuid[], $replaced_old_run_id::uuid[]) as c(shard_id, namespace_id, workflow_id, run_id, old_run_id)
  where x.ctid = (select y.ctid from current_executions as y where y.group_id = $group_id::int
    and y.shard_id = c.shard_id and y.namespace_id = c.namespace_id and y.workflow_id = c.workflow_id)
    and x.run_id = c.old_run_id
  returning c.run_id
)

-- name: claim_replaced_gated
claimed_replaced as (
  update current_executions as x set run_id = c.run_id
  from fence, unnest($replaced_shard_id::int[], $replaced_namespace_id::int[], $replaced_workflow_id::text[],
    $replaced_run_id::uuid[], $replaced_old_run_id::uuid[], $replaced_gated::bool[])
    as c(shard_id, namespace_id, workflow_id, run_id, old_run_id, gated)
  where x.ctid = (select y.ctid from current_executions as y where y.group_id = $group_id::int
    and y.shard_id = c.shard_id and y.namespace_id = c.namespace_id and y.workflow_id = c.workflow_id)
    and x.run_id = c.old_run_id
    -- Continue-as-new: if the closing append of the old run is refused, the new run must not begin.
    and (not c.gated or c.old_run_id in (select run_id from continued))
  returning c.run_id
)

-- name: unite_free
claimed as (select run_id from claimed_free)

-- name: unite_replaced
claimed as (select run_id from claimed_replaced)

-- name: unite_claims
claimed as (select run_id from claimed_free union all select run_id from claimed_replaced)

-- name: append_begun
begun as (
  insert into history (group_id, shard_id, run_id, first_event_id, last_event_id, events)
  select $group_id::int, a.shard_id, a.run_id, 1, a.last_event_id, a.events
  from fence, unnest($begun_shard_id::int[], $begun_run_id::uuid[], $begun_claim::uuid[], $begun_last::int[],
    $begun_events::json[]) as a(shard_id, run_id, claim, last_event_id, events)
  where (a.claim in (select run_id from claimed)) is true
  on conflict do nothing
  returning run_id
)

-- name: append_begun_copied
-- For a batch with a run whose history is a copy, written before: its first append goes on where the copy ends.
begun as (
  insert into history (group_id, shard_id, run_id, first_event_id, last_event_id, events)
  select $group_id::int, a.shard_id, a.run_id, coalesce(a.first_event_id, 1), a.last_event_id, a.events
  from fence, unnest($begun_shard_id::int[], $begun_run_id::uuid[], $begun_claim::uuid[], $begun_first_id::int[],
    $begun_last::int[], $begun_events::json[]) as a(shard_id, run_id, claim, first_event_id, last_event_id, events)
  where (a.claim in (select run_id from claimed)) is true
  on conflict do nothing
  returning run_id
)

-- name: insert_executions
visible as (
  insert into executions (group_id, shard_id, run_id, namespace_id, workflow_id, workflow_type, task_queue, status,
    start_time, close_time, history_length, request_id, first_run_id, new_run_id, memo, search_attributes)
  select $group_id::int, e.shard_id, e.run_id, e.namespace_id, e.workflow_id, e.workflow_type, e.task_queue, e.status,
    e.start_time, e.close_time, e.history_length, e.request_id, e.first_run_id, e.new_run_id, e.memo,
    e.search_attributes::jsonb
  from fence, unnest($visible_shard_id::int[], $visible_run_id::uuid[], $visible_namespace_id::int[],
    $visible_workflow_id::text[], $visible_workflow_type::text[], $visible_task_queue::text[],
    $visible_status::smallint[], $visible_start_time::timestamptz[], $visible_close_time::timestamptz[],
    $visible_history_length::int[], $visible_request_id::text[], $visible_first_run_id::uuid[],
    $visible_new_run_id::uuid[], $visible_memo::json[], $visible_search_attributes::json[])
    as e(shard_id, run_id, namespace_id, workflow_id, workflow_type, task_queue, status, start_time, close_time,
    history_length, request_id, first_run_id, new_run_id, memo, search_attributes)
  where (e.run_id in (select run_id from begun)) is true
)

-- name: accept_none
accepted as (select null::uuid as run_id from fence where false)

-- name: accept_continued
accepted as (select run_id from continued)

-- name: accept_begun
accepted as (select run_id from begun)

-- name: accept_both
accepted as (select run_id from continued union all select run_id from begun)

-- name: change_executions
changed as (
  update executions as x set status = u.status, close_time = u.close_time, history_length = u.history_length,
    new_run_id = coalesce(u.new_run_id, x.new_run_id), memo = coalesce(u.memo, x.memo),
    search_attributes = coalesce(u.search_attributes::jsonb, x.search_attributes)
  from fence, unnest($changed_shard_id::int[], $changed_run_id::uuid[], $changed_gated::bool[],
    $changed_status::smallint[], $changed_close_time::timestamptz[], $changed_history_length::int[],
    $changed_new_run_id::uuid[], $changed_memo::json[], $changed_search_attributes::json[])
    as u(shard_id, run_id, gated, status, close_time, history_length, new_run_id, memo, search_attributes)
  where x.ctid = (select y.ctid from executions as y where y.group_id = $group_id::int and y.shard_id = u.shard_id
    and y.run_id = u.run_id)
    and (not u.gated or u.run_id in (select run_id from accepted))
)

-- name: put_activities
put_activities as (
  insert into activities (group_id, shard_id, run_id, scheduled_event_id, attempt, attempt_scheduled_at, started_at,
    identity, session, next_attempt_at, heartbeat_at, heartbeat_details, heartbeat_encoding, last_failure,
    transactional, control, permit)
  select $group_id::int, a.shard_id, a.run_id, a.scheduled_event_id, a.attempt, a.attempt_scheduled_at, a.started_at,
    a.identity, a.session, a.next_attempt_at, a.heartbeat_at, a.heartbeat_details, a.heartbeat_encoding, a.last_failure,
    a.transactional, a.control, a.permit
  from fence, unnest($activities_shard_id::int[], $activities_run_id::uuid[], $activities_gated::bool[],
    $activities_scheduled_event_id::int[], $activities_attempt::int[], $activities_attempt_scheduled_at::timestamptz[],
    $activities_started_at::timestamptz[], $activities_identity::text[], $activities_session::text[],
    $activities_next_attempt_at::timestamptz[], $activities_heartbeat_at::timestamptz[],
    $activities_heartbeat_details::json[], $activities_heartbeat_encoding::text[], $activities_last_failure::json[],
    $activities_transactional::bool[], $activities_control::json[], $activities_permit::text[])
    as a(shard_id, run_id, gated, scheduled_event_id, attempt, attempt_scheduled_at, started_at, identity, session,
    next_attempt_at, heartbeat_at, heartbeat_details, heartbeat_encoding, last_failure, transactional, control,
    permit)
  where not a.gated or a.run_id in (select run_id from accepted)
  on conflict (group_id, shard_id, run_id, scheduled_event_id) do update set attempt = excluded.attempt,
    attempt_scheduled_at = excluded.attempt_scheduled_at, started_at = excluded.started_at,
    identity = excluded.identity, session = excluded.session, next_attempt_at = excluded.next_attempt_at,
    heartbeat_at = excluded.heartbeat_at, heartbeat_details = excluded.heartbeat_details,
    heartbeat_encoding = excluded.heartbeat_encoding, last_failure = excluded.last_failure,
    transactional = excluded.transactional, control = excluded.control,
    permit = excluded.permit
)

-- name: delete_activities
gone_activities as (
  delete from activities as x
  using fence, unnest($activities_gone_shard_id::int[], $activities_gone_run_id::uuid[], $activities_gone_gated::bool[],
    $activities_gone_scheduled_event_id::int[]) as g(shard_id, run_id, gated, scheduled_event_id)
  where x.ctid = (select y.ctid from activities as y where y.group_id = $group_id::int and y.shard_id = g.shard_id
    and y.run_id = g.run_id and y.scheduled_event_id = g.scheduled_event_id)
    and (not g.gated or g.run_id in (select run_id from accepted))
)

-- name: clear_activities
cleared_activities as (
  delete from activities as x
  using fence, unnest($activities_cleared_shard_id::int[], $activities_cleared_run_id::uuid[],
    $activities_cleared_gated::bool[]) as g(shard_id, run_id, gated),
    lateral (select y.ctid from activities as y where y.group_id = $group_id::int and y.shard_id = g.shard_id
      and y.run_id = g.run_id offset 0) as found(place)
  where x.ctid = found.place and (not g.gated or g.run_id in (select run_id from accepted))
)

-- name: insert_buffered
put_buffered as (
  insert into buffered_events (group_id, shard_id, run_id, position, event)
  select $group_id::int, b.shard_id, b.run_id, b.position, b.event
  from fence, unnest($buffered_shard_id::int[], $buffered_run_id::uuid[], $buffered_gated::bool[],
    $buffered_position::int[], $buffered_event::json[]) as b(shard_id, run_id, gated, position, event)
  where not b.gated or b.run_id in (select run_id from accepted)
  on conflict (group_id, shard_id, run_id, position) do update set event = excluded.event
)

-- name: flush_buffered
flushed as (
  delete from buffered_events as x
  using fence, unnest($buffer_flushed_shard_id::int[], $buffer_flushed_run_id::uuid[], $buffer_flushed_gated::bool[])
    as g(shard_id, run_id, gated),
    lateral (select y.ctid from buffered_events as y where y.group_id = $group_id::int and y.shard_id = g.shard_id
      and y.run_id = g.run_id offset 0) as found(place)
  where x.ctid = found.place and (not g.gated or g.run_id in (select run_id from accepted))
)

-- name: put_wakes
put_wakes as (
  insert into wakes (group_id, shard_id, run_id, wake_at, owed)
  select $group_id::int, w.shard_id, w.run_id, w.wake_at, w.owed
  from fence, unnest($wakes_shard_id::int[], $wakes_run_id::uuid[], $wakes_gated::bool[], $wakes_wake_at::timestamptz[],
    $wakes_owed::bool[]) as w(shard_id, run_id, gated, wake_at, owed)
  where not w.gated or w.run_id in (select run_id from accepted)
  on conflict (group_id, shard_id, run_id) do update set wake_at = excluded.wake_at, owed = excluded.owed
)

-- name: delete_wakes
gone_wakes as (
  delete from wakes as x
  using fence, unnest($wakes_gone_shard_id::int[], $wakes_gone_run_id::uuid[], $wakes_gone_gated::bool[])
    as g(shard_id, run_id, gated)
  where x.ctid = (select y.ctid from wakes as y where y.group_id = $group_id::int and y.shard_id = g.shard_id
    and y.run_id = g.run_id)
    and (not g.gated or g.run_id in (select run_id from accepted))
)

-- name: insert_parked
put_parked as (
  insert into parked (group_id, shard_id, run_id, scheduled_event_id, namespace_id, task_queue, kind, priority,
    fairness_key, turn)
  select $group_id::int, p.shard_id, p.run_id, p.scheduled_event_id, p.namespace_id, p.task_queue, p.kind, p.priority,
    p.fairness_key, p.turn
  from fence, unnest($parked_shard_id::int[], $parked_run_id::uuid[], $parked_gated::bool[],
    $parked_scheduled_event_id::int[], $parked_namespace_id::int[], $parked_task_queue::text[], $parked_kind::text[],
    $parked_priority::int[], $parked_fairness_key::text[], $parked_turn::float8[])
    as p(shard_id, run_id, gated, scheduled_event_id, namespace_id, task_queue, kind, priority, fairness_key, turn)
  where not p.gated or p.run_id in (select run_id from accepted)
  on conflict (group_id, shard_id, run_id, scheduled_event_id) do nothing
)

-- name: delete_parked
gone_parked as (
  delete from parked as x
  using fence, unnest($unparked_shard_id::int[], $unparked_run_id::uuid[], $unparked_gated::bool[],
    $unparked_scheduled_event_id::int[]) as g(shard_id, run_id, gated, scheduled_event_id)
  where x.ctid = (select y.ctid from parked as y where y.group_id = $group_id::int and y.shard_id = g.shard_id
    and y.run_id = g.run_id and y.scheduled_event_id = g.scheduled_event_id)
    and (not g.gated or g.run_id in (select run_id from accepted))
)

-- name: put_snapshots
put_snapshots as (
  insert into snapshots (group_id, shard_id, run_id, last_event_id, version, state)
  select $group_id::int, s.shard_id, s.run_id, s.last_event_id, s.version, s.state
  from fence, unnest($snapshots_shard_id::int[], $snapshots_run_id::uuid[], $snapshots_gated::bool[],
    $snapshots_last_event_id::int[], $snapshots_version::int[], $snapshots_state::bytea[])
    as s(shard_id, run_id, gated, last_event_id, version, state)
  where not s.gated or s.run_id in (select run_id from accepted)
  on conflict (group_id, shard_id, run_id) do update set last_event_id = excluded.last_event_id,
    version = excluded.version, state = excluded.state
)

-- name: report_accepted
select (select count(*) from fence) as held, array(select run_id from accepted) as accepted

-- name: report_fence
select count(*) as held, null as accepted from fence
