-- Many servers own shards at once. A server that leaves says so, and the others give it nothing more. One counts for the
-- assignment once it has beaten under its registration; a server of an older version never says so, owns as before, and
-- is given nothing. Constant defaults: no rewrite.
alter table servers add column leaving boolean not null default false, add column beaten boolean not null default false;
comment on table servers is 'Servers and their heartbeats. beat grows by one each time; others watch it on their own monotonic clocks. leaving: it gives its shards away. beaten: it lives since it registered.';
comment on table shards is 'Who owns each shard. It changes by compare-and-set on (owner, epoch), and every change raises epoch, so that their sum says whether anything has changed; no owner: given away.';
