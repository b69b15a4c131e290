"""The store: everything that is written to and read from Postgres. It alone has SQL."""
