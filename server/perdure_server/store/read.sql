-- What the engine reads. All of it is by primary key or by an index of the same order; no locks are taken.

-- name: load_runs
select x.shard_id, x.run_id, x.namespace_id, x.workflow_id, x.status, s.last_event_id as snapshot_event_id, s.state,
  coalesce(newest.first_event_id, 0) as newest_first_event_id, w.shard_id is not null as has_wake, w.wake_at, w.owed,
  array(
    select row(h.first_event_id, h.last_event_id, h.events) from history as h
    where h.group_id = x.group_id and h.shard_id = x.shard_id and h.run_id = x.run_id
      and h.first_event_id > coalesce(s.last_event_id, 0)
    order by h.first_event_id
  ) as rows,
  array(
    select row(a.scheduled_event_id, a.attempt, a.attempt_scheduled_at, a.started_at, a.identity, a.session,
      a.next_attempt_at, a.heartbeat_at, a.heartbeat_details, a.heartbeat_encoding, a.last_failure, a.transactional, a.control,
      a.permit)
    from activities as a
    where a.group_id = x.group_id and a.shard_id = x.shard_id and a.run_id = x.run_id
    order by a.scheduled_event_id
  ) as activities,
  array(
    select row(b.position, b.event) from buffered_events as b
    where b.group_id = x.group_id and b.shard_id = x.shard_id and b.run_id = x.run_id
    order by b.position
  ) as buffered,
  array(
    select p.scheduled_event_id from parked as p
    where p.group_id = x.group_id and p.shard_id = x.shard_id and p.run_id = x.run_id
    order by p.scheduled_event_id
  ) as parked
from unnest($2::int[], $3::uuid[]) with ordinality as k(shard_id, run_id, place)
join executions as x on x.group_id = $1 and x.shard_id = k.shard_id and x.run_id = k.run_id
left join snapshots as s on s.group_id = x.group_id and s.shard_id = x.shard_id and s.run_id = x.run_id
  and s.version = $4
left join wakes as w on w.group_id = x.group_id and w.shard_id = x.shard_id and w.run_id = x.run_id
left join lateral (
  select h.first_event_id from history as h
  where h.group_id = x.group_id and h.shard_id = x.shard_id and h.run_id = x.run_id
  order by h.first_event_id desc limit 1
) as newest on true
order by k.place

-- name: find_appends
select k.run_id
from unnest($2::int[], $3::uuid[], $4::int[], $5::int[]) as k(shard_id, run_id, first_event_id, last_event_id)
where (
  select h.last_event_id from history as h
  where h.group_id = $1 and h.shard_id = k.shard_id and h.run_id = k.run_id and h.first_event_id = k.first_event_id
) = k.last_event_id

-- name: list_history
select h.first_event_id, h.last_event_id, h.events from history as h
where h.group_id = $1 and h.shard_id = $2 and h.run_id = $3 and h.first_event_id >= coalesce((
  -- The row that holds the event after `$4`: it may begin before it.
  select p.first_event_id from history as p
  where p.group_id = $1 and p.shard_id = $2 and p.run_id = $3 and p.first_event_id <= $4::int + 1
    and p.last_event_id > $4::int
  order by p.first_event_id desc limit 1
), $4::int + 1)
order by h.first_event_id limit $5

-- name: list_owed
select w.shard_id, w.run_id, w.wake_at, w.owed from wakes as w
where w.group_id = $1 and w.owed and w.shard_id = any($2::int[])
  and (w.shard_id, w.run_id) > ($3::int, $4::uuid)
order by w.shard_id, w.run_id limit $5

-- name: list_due
select w.shard_id, w.run_id, w.wake_at, w.owed from wakes as w
where w.group_id = $1 and w.wake_at > coalesce($3::timestamptz, '-infinity') and w.wake_at <= $4::timestamptz
  and w.shard_id = any($2::int[])
order by w.wake_at, w.shard_id, w.run_id limit $5

-- name: list_due_after
select w.shard_id, w.run_id, w.wake_at, w.owed from wakes as w
where w.group_id = $1 and w.wake_at <= $3::timestamptz and w.shard_id = any($2::int[])
  and (w.wake_at, w.shard_id, w.run_id) > ($4::timestamptz, $5::int, $6::uuid)
order by w.wake_at, w.shard_id, w.run_id limit $7

-- name: list_parked
select p.shard_id, p.run_id, p.scheduled_event_id, p.namespace_id, p.task_queue, p.kind, p.priority, p.fairness_key,
  p.turn
from parked as p
where p.group_id = $1 and p.namespace_id = $2 and p.task_queue = $3 and p.kind = $4 and p.shard_id = any($5::int[])
order by p.priority, p.turn, p.arrival limit $6

-- name: list_parked_turns
select p.priority, p.fairness_key, min(min(p.turn)) over (partition by p.priority) as next, max(p.turn) as last
from parked as p
where p.group_id = $1 and p.namespace_id = $2 and p.task_queue = $3 and p.kind = $4 and p.shard_id = any($5::int[])
group by p.priority, p.fairness_key
order by max(p.turn) - min(min(p.turn)) over (partition by p.priority) desc, p.priority, p.fairness_key limit $6

-- name: count_parked
select p.namespace_id, p.task_queue, p.kind, count(*) as tasks from parked as p
where p.group_id = $1 and p.shard_id = any($2::int[])
group by p.namespace_id, p.task_queue, p.kind
order by p.namespace_id, p.task_queue, p.kind

-- name: list_permits
select a.shard_id, a.run_id, a.scheduled_event_id, a.permit from activities as a
where a.group_id = $1 and a.permit is not null and a.started_at is not null  -- an older server leaves the name behind
