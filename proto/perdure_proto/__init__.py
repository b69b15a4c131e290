"""What crosses a wire or lands in the log.

Types only: msgspec Structs for events, commands, failures, options and requests, and the pure functions that read
and write them. Nothing here knows a clock, a socket or a database; every other package may import it.
"""

PROTOCOL_VERSION = 1
"""The version that client, worker and server exchange; a peer with another one is refused by name."""

SCHEMA_EVENTS_VERSION = 1
"""The version of the event encoding that is written to the log."""
