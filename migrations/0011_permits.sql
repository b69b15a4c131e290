-- Concurrency limits: a running attempt that holds a permit names its limit. Nullable and without a default: no rewrite.
alter table activities add column permit text;
comment on column activities.permit is 'The concurrency limit of which the attempt holds a permit while it runs.';
-- Only rows that hold one are in it: as a rule it is empty, so it is made in the step.
create index activities_permits on activities (group_id, permit) where permit is not null;
