-- name: insert_namespace
insert into namespaces (name, description, retention) values ($1, $2, $3)
on conflict (name) do nothing
returning namespace_id, name, description, retention, created_at, rps_max

-- name: change_namespace
update namespaces
set description = coalesce($2, description), retention = coalesce($3, retention), rps_max = coalesce($4, rps_max)
where name = $1
returning namespace_id, name, description, retention, created_at, rps_max

-- name: list_namespaces
select namespace_id, name, description, retention, created_at, rps_max from namespaces order by namespace_id
