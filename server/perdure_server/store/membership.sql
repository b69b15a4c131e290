-- Servers and the shards they own. Lock order: fences, servers, shards; within a table by key. What a server writes
-- depends on its own fence, as commits do: a zombie neither looks alive nor gives away what its successor owns.

-- name: insert_cluster
insert into cluster (shards) values ($1) on conflict do nothing

-- name: insert_shards
insert into shards (group_id, shard_id)
select $1::int, shard_id from cluster, generate_series(0, cluster.shards - 1) as shard_id
on conflict do nothing

-- name: try_lock
select pg_try_advisory_lock($1)

-- name: put_server
with fence as materialized (
  select 1 from fences where group_id = $1 and server = $2 and epoch = $3 for key share
)
insert into servers (group_id, server, address, version, beat) select $1, $2, $4, $5, 1 from fence
on conflict (group_id, server) do update set address = excluded.address, version = excluded.version,
  beat = servers.beat + 1, started_at = cluster_now(), heartbeat_at = cluster_now(), leaving = false, beaten = false
returning true

-- A beat and a look in one: all that is said comes from one snapshot, so that a beat and an epoch belong together. Every
-- change of an owner raises the epoch of its row: their sum tells whether the rows are worth reading.
-- $4: owners that may have no row in servers; they are looked at too, as silent ones.
-- name: beat_server
with fence as materialized (
  select 1 from fences where group_id = $1 and server = $2 and epoch = $3 for key share
), beaten as (
  update servers set beat = beat + 1, beaten = true, heartbeat_at = cluster_now() from fence
  where group_id = $1 and server = $2
)
select cluster_now() as now, exists(select from fence) as held,
  (select coalesce(sum(epoch), 0)::bigint from shards where group_id = $1) as changes, m.*
from (select) as once left join (
  select f.server, f.epoch, coalesce(v.beat, 0) as beat, coalesce(v.address, '') as address,
    coalesce(v.version, '') as version, coalesce(v.leaving, false) as leaving, coalesce(v.beaten, false) as beaten
  from fences as f left join servers as v using (group_id, server)
  where f.group_id = $1
    and f.server in (select server from servers where group_id = $1 union all select unnest($4::text[]))
) as m on true
order by m.server

-- name: set_leaving
with fence as materialized (
  select 1 from fences where group_id = $1 and server = $2 and epoch = $3 for key share
), leaving as (
  update servers set leaving = true from fence where group_id = $1 and server = $2
)
select exists(select from fence)

-- name: list_shards
select shard_id, owner, epoch from shards where group_id = $1 order by shard_id

-- A new owner must have a row in servers, which is held: whoever removes it (it left, it was declared dead) waits for us
-- before looking at what it owns, or we find no row.
-- name: move_shards
with fence as materialized (
  select 1 from fences where group_id = $1 and server = $2 and epoch = $3 for key share
), target as materialized (
  select v.server from fence, servers as v where v.group_id = $1 and v.server = any($7::text[])
  order by v.server for key share of v
), wanted as materialized (
  select x.shard_id, k.new_owner
  from fence, unnest($4::int[], $5::text[], $6::bigint[], $7::text[]) as k(shard_id, owner, epoch, new_owner)
  join shards as x on x.group_id = $1 and x.shard_id = k.shard_id
  where x.owner is not distinct from k.owner and x.epoch = k.epoch
    and (k.new_owner is null or k.new_owner in (select server from target))
  order by x.shard_id for no key update of x
), moved as (
  update shards as x set owner = w.new_owner, epoch = x.epoch + 1 from wanted as w
  where x.group_id = $1 and x.shard_id = w.shard_id
  returning x.shard_id
)
select exists(select from fence) as held, array(select shard_id from moved) as moved

-- name: delete_server
with fence as materialized (
  select 1 from fences where group_id = $1 and server = $2 and epoch = $3 for key share
)
delete from servers using fence where group_id = $1 and server = $2

-- name: list_shards_of
select s.shard_id, s.owner, s.epoch from fences as f join shards as s on s.group_id = f.group_id and s.owner = f.server
where f.group_id = $1 and f.server = $2 and f.epoch = $3 order by s.shard_id

-- name: hold_fence
select true from fences where group_id = $1 and server = $2 and epoch = $3 for key share

-- name: lock_server
select true from servers where group_id = $1 and server = $2 for update

-- name: count_shards_of
select count(*) from shards where group_id = $1 and owner = $2
