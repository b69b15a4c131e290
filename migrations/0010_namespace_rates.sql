-- So many requests of clients a second a namespace takes, by all servers together; 0 is no limit.

alter table namespaces add column rps_max double precision not null default 0 check (rps_max >= 0);
