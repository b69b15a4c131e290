"""The sans-IO heart of the worker: histories go in, activations and commands come out.

Pure: no asyncio, no I/O, no clock, no chance, no threads; time and ids come in with the events. The same code serves
the first run and every replay: the difference is only whether the event that records a command is already there.
"""

from perdure_worker.replay.activation import Activation, HistoryGapError, HistoryReader
from perdure_worker.replay.execution import Execution
from perdure_worker.replay.nondeterminism import MismatchError, Origin

__all__ = ["Activation", "Execution", "HistoryGapError", "HistoryReader", "MismatchError", "Origin"]
