-- How transactional activities ended. A row is written by an attempt, in its user's transaction, or here: a seal. Seals
-- depend on the fence, so a zombie neither seals what its successor lets run nor unseals what it has closed.

-- name: limit_waiting
set local lock_timeout = '1s'

-- name: seal_outcome
-- Waits for an attempt that has recorded and not committed. A seal that was there is taken over: whoever set it can no
-- longer take it away.
with fence as materialized (
  select 1 from fences where group_id = $1 and server = $2 and epoch = $3 for key share
), sealed as (
  insert into outcomes as o (group_id, shard_id, run_id, scheduled_event_id, seal)
  select $1, $4, $5, $6, $7 from fence
  on conflict (group_id, shard_id, run_id, scheduled_event_id) do update set seal = excluded.seal
    where o.seal is not null
  returning 1
)
select exists(select from fence) as held, exists(select from sealed) as sealed

-- name: unseal_outcome
with fence as materialized (
  select 1 from fences where group_id = $1 and server = $2 and epoch = $3 for key share
)
delete from outcomes as o using fence
where o.group_id = $1 and o.shard_id = $4 and o.run_id = $5 and o.scheduled_event_id = $6 and o.seal = $7

-- name: list_outcomes
select o.shard_id, o.run_id, o.scheduled_event_id, o.seal, o.attempt, o.started_at, o.identity, o.result, o.encoding
from unnest($2::int[], $3::uuid[], $4::int[]) as k(shard_id, run_id, scheduled_event_id)
join outcomes as o on o.group_id = $1 and o.shard_id = k.shard_id and o.run_id = k.run_id
  and o.scheduled_event_id = k.scheduled_event_id
