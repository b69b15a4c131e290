-- name: insert_namespace
insert into namespaces (name, description, retention) values ($1, $2, $3)
on conflict (name) do nothing
returning namespace_id, name, description, retention, created_at

-- name: list_namespaces
select namespace_id, name, description, retention, created_at from namespaces order by namespace_id
