-- Single visibility rows. Lists with filters are composed in filter.py.

-- name: get_current
select x.* from current_executions as c
join executions as x on x.group_id = c.group_id and x.shard_id = c.shard_id and x.run_id = c.run_id
where c.group_id = $1 and c.shard_id = $2 and c.namespace_id = $3 and c.workflow_id = $4

-- name: get_execution
select x.* from executions as x where x.group_id = $1 and x.shard_id = $2 and x.run_id = $3

-- name: get_requested
select x.* from executions as x
where x.group_id = $1 and x.namespace_id = $2 and x.workflow_id = $3 and x.request_id = $4
order by x.start_time limit 1

-- name: list_requests
-- Newest first, so that of two runs which have the same request the earlier is read last.
select e.event ->> 'request_id' as request_id, x.run_id
from executions as x
join history as h on h.group_id = x.group_id and h.shard_id = x.shard_id and h.run_id = x.run_id
cross join lateral json_array_elements(h.events) as e(event)
where x.group_id = $1 and x.namespace_id = $2 and x.workflow_id = $3 and x.close_time >= $4
  and h.events::text like '%"request_id"%'
  and e.event ->> 'event_type' in ('WorkflowExecutionSignaled', 'WorkflowExecutionCancelRequested')
  and e.event ->> 'request_id' <> ''
order by x.start_time desc, x.run_id desc, (e.event ->> 'event_id')::int desc limit $5
