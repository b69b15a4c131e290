-- Parked tasks come back by priority, then by turn of their fairness key, then by age. Constant defaults: no rewrite.
alter table parked add column fairness_key text not null default '', add column turn double precision not null default 0;
comment on column parked.turn is 'The end of a turn of its fairness key among what is parked in its queue at its priority: the lowest comes back first.';
-- The table holds what overflowed, and nothing at all as a rule, so the index is made in the step. The page reads it in its order.
create index parked_by_turn on parked (group_id, namespace_id, task_queue, kind, priority, turn, arrival);
drop index parked_by_queue;
