-- What is done to a pending activity from outside is kept beside the log. Nullable and without a default: no rewrite.
alter table activities add column control json;
