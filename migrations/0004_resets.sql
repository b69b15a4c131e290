-- Which run began as a copy of which. The row is there before the copy, so that a copy that nobody finished is found.
create table resets (
    group_id    int not null,
    shard_id    int not null,
    run_id      uuid not null,
    base_run_id uuid not null,
    begun_at    timestamptz not null default cluster_now(),
    primary key (group_id, shard_id, run_id)
);
comment on table resets is 'Runs that began as a copy of another, also those whose copy was never finished: they have no row in executions.';
create index resets_by_base on resets (group_id, shard_id, base_run_id);
