"""What waits for Postgres in this server, whichever committer writes at the moment.

It must not know who asks, nor what is done about it.
"""

from __future__ import annotations

from perdure_server.engine.committer import Committer


class CommitBacklog:
    """Nothing while no committer runs."""

    __slots__ = ("committer",)

    def __init__(self) -> None:
        self.committer: Committer | None = None

    @property
    def runs(self) -> int:
        """How many runs have something that is not committed."""
        return 0 if self.committer is None else self.committer.runs_waiting

    @property
    def bytes(self) -> int:
        """How many bytes of events are not committed."""
        return 0 if self.committer is None else self.committer.bytes_waiting

    @property
    def is_away(self) -> bool:
        """Whether Postgres gave no answer to the last commit."""
        return self.committer is not None and self.committer.is_away
