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
