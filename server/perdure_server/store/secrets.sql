-- name: read_secret
select secret from secrets where name = $1
