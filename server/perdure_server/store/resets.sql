-- Copies for resets: written over a connection of their own into a run that nobody sees, a bounded page at a time. No
-- fence: who copies decides nothing, for only the commit that claims the workflow id makes the run exist.

-- name: insert_reset
insert into resets (group_id, shard_id, run_id, base_run_id) values ($1, $2, $3, $4)

-- name: copy_page
with page as (
  select h.first_event_id, h.last_event_id, h.events from history as h
  where h.group_id = $1 and h.shard_id = $2 and h.run_id = $3 and h.first_event_id > $5::int
    and h.last_event_id <= $6::int
  order by h.first_event_id limit $7
), copied as (
  insert into history (group_id, shard_id, run_id, first_event_id, last_event_id, events)
  select $1, $2, $4::uuid, p.first_event_id, p.last_event_id, p.events from page as p
  on conflict do nothing
)
select p.first_event_id, p.last_event_id, count(*) over () as rows from page as p order by p.first_event_id desc limit 1

-- name: insert_row
insert into history (group_id, shard_id, run_id, first_event_id, last_event_id, events)
values ($1, $2, $3, $4, $5, $6)
on conflict do nothing

-- name: get_reset_run
select r.run_id from resets as r
where r.group_id = $1 and r.shard_id = $2 and r.base_run_id = $3 and exists (
  select from executions as x where x.group_id = r.group_id and x.shard_id = r.shard_id and x.run_id = r.run_id
)
order by r.begun_at desc limit 1

-- name: list_orphans
select r.shard_id, r.run_id from resets as r
where r.group_id = $1 and r.shard_id = any($4::int[]) and r.begun_at < cluster_now() - $2::interval and not exists (
  select from executions as x where x.group_id = r.group_id and x.shard_id = r.shard_id and x.run_id = r.run_id
)
order by r.shard_id, r.run_id limit $3

-- name: delete_orphan_history
delete from history as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id

-- name: delete_orphans
delete from resets as x using unnest($2::int[], $3::uuid[]) as g(shard_id, run_id)
where x.group_id = $1 and x.shard_id = g.shard_id and x.run_id = g.run_id
