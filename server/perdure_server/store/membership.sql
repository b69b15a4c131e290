-- Servers and the shards they own. Lock order: cluster, fences, servers, shards. What a server writes about itself
-- depends on its fence, as commits do: a zombie neither looks alive nor gives away what its successor owns.

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
  beat = servers.beat + 1, started_at = cluster_now(), heartbeat_at = cluster_now()

-- name: beat_server
with fence as materialized (
  select 1 from fences where group_id = $1 and server = $2 and epoch = $3 for key share
), beaten as (
  update servers set beat = beat + 1, heartbeat_at = cluster_now() from fence where group_id = $1 and server = $2
)
select cluster_now() as now, exists(select from fence) as held

-- name: list_owners
select s.owner, f.epoch, coalesce(v.beat, 0) as beat, coalesce(v.address, '') as address, count(*) as shards
from shards as s
join fences as f on f.group_id = s.group_id and f.server = s.owner
left join servers as v on v.group_id = s.group_id and v.server = s.owner
where s.group_id = $1 and s.owner <> $2
group by s.owner, f.epoch, v.beat, v.address order by s.owner

-- name: lock_cluster
select shards from cluster for update

-- name: hold_fence
select true from fences where group_id = $1 and server = $2 and epoch = $3 for key share

-- name: list_shards
select shard_id, owner, epoch from shards where group_id = $1 order by shard_id

-- name: claim_shards
with fence as materialized (
  select 1 from fences where group_id = $1 and server = $2 and epoch = $3 for key share
)
update shards as x set owner = $2, epoch = x.epoch + 1
from fence, unnest($4::int[], $5::text[], $6::bigint[]) as k(shard_id, owner, epoch)
where x.group_id = $1 and x.shard_id = k.shard_id and x.owner is not distinct from k.owner and x.epoch = k.epoch
returning x.shard_id

-- name: release_shards
with fence as materialized (
  select 1 from fences where group_id = $1 and server = $2 and epoch = $3 for key share
), gone as (
  delete from servers using fence where group_id = $1 and server = $2
)
update shards as x set owner = null, epoch = x.epoch + 1 from fence where x.group_id = $1 and x.owner = $2
