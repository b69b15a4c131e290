"""What the tokens of waitpoints are made with, as the service last told it. One for all runs of a worker."""

from __future__ import annotations

from perdure_proto.service import WaitpointSettings


class TokenSettings:
    """`known` is None where no service is there to take tokens."""

    def __init__(self, known: WaitpointSettings | None = None) -> None:
        self.known = known
