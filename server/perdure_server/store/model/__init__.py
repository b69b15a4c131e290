"""The model store: the port's `Store` in memory, for the simulation and for tests that skip time.

It does what the one commit statement does, at one instant; it has no I/O, no clock of its own and no chance. The same
conformance suite holds it and Postgres (`tests/integration/store`). What is about SQL, connections and locks is not
here: whoever simulates faults puts them around it.
"""

from perdure_server.store.model.store import ModelStore

__all__ = ["ModelStore"]
