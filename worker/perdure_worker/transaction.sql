-- The one statement of a worker: the last of a transactional activity's transaction, before its commit.
select perdure_transactions.record_outcome($1, $2, $3, $4, $5, $6, $7, $8, $9)
