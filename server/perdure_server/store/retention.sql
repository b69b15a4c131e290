-- Deletes closed runs past their namespace's retention: found first, without locks, then deleted table by table in lock
-- order, in one transaction. A closed run does not change any more, so nothing needs to be looked at twice.

-- name: list_expired
select x.shard_id, x.run_id, x.namespace_id, x.workflow_id from namespaces as n
-- The standalone activities of a namespace have its id, negated.
cross join (values (1), (-1)) as kinds(sign)
cross join lateral (
  select e.* from executions as e
  where e.group_id = $1 and e.namespace_id = n.namespace_id * kinds.sign and e.close_time < $2::timestamptz - n.retention
    and e.shard_id = any($4::int[])
    -- Parent, children or targets that have not acknowledged are still owed.
    and not exists (
      select from wakes as w
      where w.group_id = e.group_id and w.shard_id = e.shard_id and w.run_id = e.run_id and w.owed
    )
  order by e.close_time limit $3
) as x
order by x.shard_id, x.run_id limit $3

-- name: read_clock
select cluster_now()

-- name: limit_waiting
set local lock_timeout = '1s'

-- name: delete_current
delete from current_executions as c
using unnest($2::int[], $3::uuid[], $4::int[], $5::text[]) as g(shard_id, run_id, namespace_id, workflow_id)
where c.group_id = $1 and c.shard_id = g.shard_id and c.namespace_id = g.namespace_id
  and c.workflow_id = g.workflow_id and c.run_id = g.run_id

-- name: delete_history
delete from history as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id

-- name: delete_executions
delete from executions as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id

-- name: delete_activities
delete from activities as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id

-- name: delete_buffered
delete from buffered_events as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id

-- name: delete_wakes
delete from wakes as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id

-- name: delete_parked
delete from parked as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id

-- name: delete_resets
delete from resets as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id

-- name: delete_snapshots
delete from snapshots as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id

-- name: delete_outcomes
delete from outcomes as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id
