"""The history server: executions kept in Postgres, owned by one server at a time, driven by commands and time."""
