-- name: list_secrets
select generation, secret, valid_until from secrets where name = $1 order by generation desc

-- name: rotate_secret
-- Two at once draw the same number, and the first draw counts.
with newest as (
    select max(generation) as generation from secrets where name = $1
), gone as (
    delete from secrets where name = $1 and generation <= (select generation from newest) + 1 - $3::integer
), aged as (
    update secrets set valid_until = least(valid_until, $2)
    where name = $1 and generation > (select generation from newest) + 1 - $3::integer
)
insert into secrets (name, generation, secret)
select $1, generation + 1, decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
from newest
on conflict (name, generation) do nothing
