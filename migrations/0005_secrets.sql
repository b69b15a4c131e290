-- Secrets of the cluster. The first is what the keys of waitpoint tokens are derived from. Postgres draws it here, so
-- that a database has it from its migration on, whichever server comes first. gen_random_uuid is the strongest chance
-- that it has without an extension: two of them are 244 bits.

create table secrets (
    name   text primary key,
    secret bytea not null
);
comment on table secrets is 'What the service signs with. A secret that is changed makes what was signed with it worthless.';

insert into secrets (name, secret)
values ('waitpoints', decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
