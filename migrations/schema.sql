-- The sum of all migrations, for reading; a test proves that it is. Never run by the service.
--
-- The log, what stands beside it, and the projections of it. group_id leads every key: it is the unit of commit.
-- Lock order: fences, current_executions, history, executions, activities, buffered_events, wakes, parked, snapshots,
-- outcomes; within a table by primary key, ascending.

create function cluster_now() returns timestamptz language sql volatile as 'select clock_timestamp()';
comment on function cluster_now() is 'The clock of the cluster: every time that Postgres gives comes from here.';

create function shard_of(namespace text, workflow_id text, shards int) returns int language sql stable as $$
    select ((get_byte(d.digest, 0)::bigint << 24 | get_byte(d.digest, 1)::bigint << 16
             | get_byte(d.digest, 2)::bigint << 8 | get_byte(d.digest, 3)::bigint) % shards)::int
    from (select sha256(convert_to(namespace, 'UTF8') || '\x00'::bytea || convert_to(workflow_id, 'UTF8'))) as d(digest)
$$;
comment on function shard_of(text, text, int) is 'The shard that owns a workflow id, as the servers compute it.';

-- Ownership

create table cluster (
    only_row   boolean primary key default true check (only_row),
    shards     int not null check (shards > 0),
    created_at timestamptz not null default cluster_now()
);
comment on table cluster is 'Settings fixed when the cluster was made: one row.';

create table fences (
    group_id int not null,
    server   text not null,
    epoch    bigint not null,
    primary key (group_id, server)
) with (fillfactor = 50);
comment on table fences is 'Who may commit. Every commit locks its own row for key share at its epoch; whoever takes over locks it for update, then raises the epoch.';

create table servers (
    group_id     int not null,
    server       text not null,
    address      text not null,
    version      text not null,
    beat         bigint not null,
    started_at   timestamptz not null default cluster_now(),
    heartbeat_at timestamptz not null default cluster_now(),
    leaving      boolean not null default false,
    beaten       boolean not null default false,
    primary key (group_id, server)
) with (fillfactor = 50);
comment on table servers is 'Servers and their heartbeats. beat grows by one each time; others watch it on their own monotonic clocks. leaving: it gives its shards away. beaten: it lives since it registered.';

create table shards (
    group_id int not null,
    shard_id int not null,
    owner    text,
    epoch    bigint not null default 0,
    primary key (group_id, shard_id)
) with (fillfactor = 70);
comment on table shards is 'Who owns each shard. It changes by compare-and-set on (owner, epoch), and every change raises epoch, so that their sum says whether anything has changed; no owner: given away.';

-- Namespaces

create table namespaces (
    namespace_id int generated always as identity primary key,
    name         text not null unique,
    description  text not null default '',
    retention    interval not null default interval '3 days',
    created_at   timestamptz not null default cluster_now(),
    rps_max      double precision not null default 0 check (rps_max >= 0)
);
comment on table namespaces is 'Namespaces, and how long each keeps closed runs.';
insert into namespaces (name, description) values ('default', 'Made with the cluster.');

-- The log

create table history (
    group_id       int not null,
    shard_id       int not null,
    run_id         uuid not null,
    first_event_id int not null,
    last_event_id  int not null,
    events         json not null,
    primary key (group_id, shard_id, run_id, first_event_id)
);
comment on table history is 'The log: one row for each append, holding the events of one transition. It is only inserted into. history_events shows it event by event.';

create view history_events as
select h.run_id, (e.event ->> 'event_id')::int as event_id, e.event ->> 'event_type' as event_type,
       (e.event ->> 'event_time')::timestamptz as event_time, e.event, h.group_id, h.shard_id
from history as h cross join lateral json_array_elements(h.events) as e(event);
comment on view history_events is 'The log, one event a line. Order by run_id, event_id.';

create table snapshots (
    group_id      int not null,
    shard_id      int not null,
    run_id        uuid not null,
    last_event_id int not null,
    version       int not null,
    state         bytea not null,
    primary key (group_id, shard_id, run_id)
);
comment on table snapshots is 'State up to an event, by the version of the code that made it: saves reading the log from its start, and may be deleted at any time.';

-- Beside the log and as true as it

create table activities (
    group_id             int not null,
    shard_id             int not null,
    run_id               uuid not null,
    scheduled_event_id   int not null,
    attempt              int not null,
    attempt_scheduled_at timestamptz not null,
    started_at           timestamptz,
    identity             text not null,
    session              text not null,
    next_attempt_at      timestamptz,
    heartbeat_at         timestamptz,
    heartbeat_details    json,
    heartbeat_encoding   text not null,
    last_failure         json,
    transactional        boolean not null default false,
    control              json,
    permit               text,
    primary key (group_id, shard_id, run_id, scheduled_event_id)
) with (fillfactor = 70);
comment on table activities is 'Pending activities of which there is something to keep beside the log: attempts, failures, heartbeats.';
comment on column activities.transactional is 'An attempt was allowed to begin a transaction: the activity is closed otherwise only behind a seal in outcomes.';
comment on column activities.permit is 'The concurrency limit of which the attempt holds a permit while it runs.';
create index activities_permits on activities (group_id, permit) where permit is not null;

create table buffered_events (
    group_id int not null,
    shard_id int not null,
    run_id   uuid not null,
    position int not null,
    event    json not null,
    primary key (group_id, shard_id, run_id, position)
);
comment on table buffered_events is 'Events that were acknowledged while a workflow task was started; they move to the log when it ends.';

-- Transactional activities: the completion is a row that commits with the user's own rows

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

-- Projections: queues

create table wakes (
    group_id int not null,
    shard_id int not null,
    run_id   uuid not null,
    wake_at  timestamptz,
    owed     boolean not null,
    primary key (group_id, shard_id, run_id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
comment on table wakes is 'The timer queue and the recovery list: when a run must be looked at next, and whether a task or a message is due now.';
create index wakes_by_time on wakes (group_id, wake_at, shard_id, run_id) where wake_at is not null;
create index wakes_owed on wakes (group_id, shard_id, run_id) where owed;

create table parked (
    group_id           int not null,
    shard_id           int not null,
    run_id             uuid not null,
    scheduled_event_id int not null,
    namespace_id       int not null,
    task_queue         text not null,
    kind               text not null,
    priority           int not null,
    arrival            bigint generated always as identity,
    fairness_key       text not null default '',
    turn               double precision not null default 0,
    primary key (group_id, shard_id, run_id, scheduled_event_id)
);
comment on table parked is 'Tasks that did not fit into memory, in the order in which they come back.';
comment on column parked.turn is 'The end of a turn of its fairness key among what is parked in its queue at its priority: the lowest comes back first.';
create index parked_by_turn on parked (group_id, namespace_id, task_queue, kind, priority, turn, arrival);

-- Projections: visibility

create table current_executions (
    group_id     int not null,
    shard_id     int not null,
    namespace_id int not null,
    workflow_id  text not null,
    run_id       uuid not null,
    primary key (group_id, shard_id, namespace_id, workflow_id)
) with (fillfactor = 85);
comment on table current_executions is 'The newest run of each workflow id. The insert into it decides who starts.';

create table executions (
    group_id          int not null,
    shard_id          int not null,
    run_id            uuid not null,
    namespace_id      int not null,
    workflow_id       text not null,
    workflow_type     text not null,
    task_queue        text not null,
    status            smallint not null,
    start_time        timestamptz not null,
    close_time        timestamptz,
    history_length    int not null,
    request_id        text not null,
    first_run_id      uuid not null,
    new_run_id        uuid,
    memo              json,
    search_attributes jsonb,
    primary key (group_id, shard_id, run_id)
) with (fillfactor = 85);
comment on table executions is 'The visibility row of each run. It changes when something changes that an operator searches by, not at every transition.';
create index executions_by_start on executions (namespace_id, start_time desc, run_id desc);
create index executions_by_type on executions (namespace_id, workflow_type, status, start_time desc, run_id desc);
create index executions_by_workflow on executions (namespace_id, workflow_id, request_id);
create index executions_running on executions (namespace_id, start_time desc, run_id desc) where status = 1;
create index executions_closed on executions (namespace_id, close_time) where close_time is not null;

-- lz4 costs a fraction of pglz, but not every Postgres is built with it.
do $$
begin
    alter table history alter column events set compression lz4;
    alter table snapshots alter column state set compression lz4;
    alter table executions alter column memo set compression lz4;
    alter table outcomes alter column result set compression lz4;
exception when feature_not_supported then
    raise notice 'this server has no lz4: large values are compressed with pglz';
end
$$;

-- Secrets

create table secrets (
    name        text        not null,
    secret      bytea       not null,
    generation  integer     not null default 1,
    valid_until timestamptz,
    primary key (name, generation)
);
comment on table secrets is
    'What the service signs with: the newest generation of a name; older ones are taken until valid_until.';

insert into secrets (name, secret)
values ('waitpoints', decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
insert into secrets (name, secret)
values ('cluster', decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
