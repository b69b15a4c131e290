-- Secrets that can be changed. The newest generation signs; an older one is taken until `valid_until`. What is over stays
-- for a few generations more, so that a waitpoint is recognised by whichever of its tokens completed it.

alter table secrets add column generation integer not null default 1;
alter table secrets add column valid_until timestamptz;
alter table secrets drop constraint secrets_pkey;
alter table secrets add primary key (name, generation);

comment on table secrets is
    'What the service signs with: the newest generation of a name; older ones are taken until valid_until.';
