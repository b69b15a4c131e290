"""Matching: which worker gets which task, and what becomes of a delivery that nobody acknowledges.

`Matching` is all that others need; `port` is what it asks of the engine. It holds everything in memory and nothing
that the engine could not offer again. It must not know HTTP, the store, or how a task is built.
"""

from perdure_server.matching.limits import MatchingLimits
from perdure_server.matching.port import Session, TaskKind, TaskRef, TaskSource, Times
from perdure_server.matching.service import Matching

__all__ = ["Matching", "MatchingLimits", "Session", "TaskKind", "TaskRef", "TaskSource", "Times"]
