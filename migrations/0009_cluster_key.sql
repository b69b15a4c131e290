-- The key by which the servers of a cluster know each other. As strong as the waitpoints' secret, and made like it.

insert into secrets (name, secret)
values ('cluster', decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
