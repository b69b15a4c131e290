-- Transactional activities: the completion is a row that commits with the user's own rows.
--
-- Lock order: outcomes come after snapshots. Whoever records one holds its run for key share, which no commit waits for.

alter table activities add column transactional boolean not null default false;
comment on column activities.transactional is 'An attempt was allowed to begin a transaction: the activity is closed otherwise only behind a seal in outcomes.';

create table outcomes (
    group_id           int not null,
    shard_id           int not null,
    run_id             uuid not null,
    scheduled_event_id int not null,
    seal               uuid,
    attempt            int not null default 0,
    started_at         timestamptz,
    identity           text not null default '',
    result             json,
    encoding           text not null default '',
    recorded_at        timestamptz not null default cluster_now(),
    primary key (group_id, shard_id, run_id, scheduled_event_id)
);
comment on table outcomes is 'How transactional activities ended: a result that committed with the user''s rows, or a seal, behind which no attempt can commit any more. The key has no attempt: of all attempts one commits. Rows go with their run.';

-- Not named after the role that most will use: with its own schema on "$user" it would lose sight of its tables.
create schema perdure_transactions;
comment on schema perdure_transactions is 'What transactional activities call; grant usage on it, and execute, to the role of the worker.';

create function perdure_transactions.record_outcome(
    in_group_id int, in_shard_id int, in_run_id uuid, in_scheduled_event_id int,
    in_attempt int, in_started_at timestamptz, in_identity text, in_result json, in_encoding text
) returns text language plpgsql security definer as $$
begin
    -- What belongs to a run goes with it, seals too: so the run must be there until this transaction has ended.
    perform from executions as x
    where x.group_id = in_group_id and x.shard_id = in_shard_id and x.run_id = in_run_id for key share;
    if not found then
        return 'unknown';
    end if;
    -- Whoever closes the activity waits for this transaction: a worker that stops here must not make it wait for ever.
    perform set_config('idle_in_transaction_session_timeout', '5s', true);
    insert into outcomes (group_id, shard_id, run_id, scheduled_event_id, attempt, started_at, identity, result, encoding)
    values (in_group_id, in_shard_id, in_run_id, in_scheduled_event_id, in_attempt, in_started_at, in_identity, in_result,
        in_encoding)
    on conflict do nothing;
    if found then
        return 'recorded';
    end if;
    perform from outcomes as o
    where o.group_id = in_group_id and o.shard_id = in_shard_id and o.run_id = in_run_id
        and o.scheduled_event_id = in_scheduled_event_id and o.seal is null;
    return case when found then 'settled' else 'sealed' end;
end
$$;
comment on function perdure_transactions.record_outcome(int, int, uuid, int, int, timestamptz, text, json, text) is 'Records the result of a transactional activity in the caller''s transaction, as its last statement. Answers recorded, settled (another attempt was first), sealed (the service has closed the activity) or unknown (no such run); only after recorded may the caller commit.';
revoke all on function perdure_transactions.record_outcome(int, int, uuid, int, int, timestamptz, text, json, text) from public;

-- The function runs with the rights of its owner, so nothing that a caller can put on a search path may be found by it.
do $$
begin
    execute format(
        'alter function perdure_transactions.record_outcome(int, int, uuid, int, int, timestamptz, text, json, text) '
        'set search_path = pg_catalog, %I, pg_temp', current_schema()
    );
end
$$;

do $$
begin
    alter table outcomes alter column result set compression lz4;
exception when feature_not_supported then
    raise notice 'this server has no lz4: large values are compressed with pglz';
end
$$;
