-- The fence row of a committer. Commits hold it for key share, which an update of the epoch alone would not wait for:
-- so a taker locks it for update first. Then what is in flight finishes, and what comes later waits and is refused.

-- name: find_pid
select pg_backend_pid()

-- name: insert_fence
insert into fences (group_id, server, epoch) values ($1, $2, 0) on conflict do nothing

-- name: lock_fence
select epoch from fences where group_id = $1 and server = $2 for update

-- name: find_beat
select coalesce((select beat from servers where group_id = $1 and server = $2), 0)

-- name: raise_fence
update fences set epoch = epoch + 1 where group_id = $1 and server = $2 returning epoch

-- name: terminate_blockers
select pg_terminate_backend(pid) from unnest(pg_blocking_pids($1)) as pid

-- name: confirm_fence
select exists(select from fences where group_id = $1 and server = $2 and epoch = $3) as held
