"""The engine: executions in memory, changed by the pure core, made durable by the committer, rebuilt from the store."""
