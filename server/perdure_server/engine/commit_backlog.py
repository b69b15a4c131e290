"""What waits for Postgres in this server, whichever committer writes at the moment.

It is written when a batch takes no more and when one has landed; the batch that still gathers is bounded by itself and
not counted. So whoever looks at it pays for reading two integers. It must not know who asks.
"""

from __future__ import annotations


class CommitBacklog:
    """Runs with something that is not committed, one that is in several batches in each; and bytes of their events.

    `is_away`: Postgres gave no answer to the last commit.
    """

    __slots__ = ("bytes", "is_away", "runs")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing waits."""
        self.runs = 0
        self.bytes = 0
        self.is_away = False
