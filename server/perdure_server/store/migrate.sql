-- The bookkeeping of the migration runner. Everything lives in the first schema of the search path that exists.

-- name: find_schema
select current_schema()

-- name: find_table
select to_regclass(format('%I.schema_migrations', current_schema())) is not null

-- name: lock_migrations
select pg_advisory_lock($1)

-- name: unlock_migrations
select pg_advisory_unlock($1)

-- name: create_table
create table if not exists schema_migrations (
    version    int primary key,
    name       text not null,
    applied_at timestamptz not null default clock_timestamp(),
    checksum   text not null
)

-- name: list_applied
select version, name, checksum from schema_migrations order by version

-- name: insert_applied
insert into schema_migrations (version, name, checksum) values ($1, $2, $3)
