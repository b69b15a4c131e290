"""Whether a history of operations on one register could have happened one after the other, each at a moment between its
call and its answer. Wing and Gong's search, with memory for what was tried before (Lowe). Pure.

Values written are all different, so a value that was read says which write it saw. A compare-and-set answers with the
value it found: one that failed is a read. So an operation of unknown outcome is simple: nobody saw its value, and then
it may as well never have happened; or somebody did, and then it happened before that answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Literal

import msgspec
from msgspec import Struct

Kind = Literal["read", "write", "cas"]

STATES_MAX = 2_000_000
"""How many states are looked at before the search gives up."""


class Operation(Struct, frozen=True, kw_only=True):
    """One call: what was asked when, and what was answered when. No answer: `known` is False."""

    kind: Kind
    invoked_at: float
    returned_at: float = inf
    known: bool = True
    value: int = 0
    """What a write or a compare-and-set puts there."""
    expected: int = 0
    """What a compare-and-set wants to find."""
    found: int = 0
    """What a read or a compare-and-set found; of an unknown one, nothing."""

    @property
    def wrote(self) -> bool:
        """Whether it changed the register, if it happened."""
        return self.kind == "write" or (self.kind == "cas" and self.found == self.expected)


class Stuck(Struct, frozen=True, kw_only=True):
    """Why a history is not linearizable: the longest order found, and the operations of which none could be next."""

    value: int
    done: int
    last: Operation | None
    next: tuple[Operation, ...]


class TooHardError(Exception):
    """The search looked at more states than it may."""


def check_register(operations: Sequence[Operation], initial: int = 0) -> Stuck | None:
    """None when the history is linearizable."""
    history = sorted(settled(operations), key=lambda one: (one.invoked_at, one.returned_at))
    return _Search(history).run(initial)


def settled(operations: Sequence[Operation]) -> list[Operation]:
    """The operations that happened: of the unknown ones, those whose value was seen, with an answer by then."""
    happened = [one for one in operations if one.known]
    unknown = {one.value: one for one in operations if not one.known and one.kind != "read"}
    written = [one.value for one in operations if one.kind != "read"]
    assert len(written) == len(set(written)), "values of a register must all be different"
    seen: dict[int, float] = {}
    for one in happened:
        if one.kind != "write":
            seen[one.found] = min(one.returned_at, seen.get(one.found, inf))
    queue = [value for value in seen if value in unknown]
    while queue:
        one = unknown.pop(queue.pop())
        # It was there when its value was seen, so its call had an end by then.
        happened.append(msgspec.structs.replace(one, known=True, found=one.expected, returned_at=seen[one.value]))
        if one.kind == "cas":
            seen[one.expected] = min(seen[one.value], seen.get(one.expected, inf))
            queue.extend({one.expected} & unknown.keys())
    return happened


State = tuple[int, int, int]
"""All before an index are done, further ones by their bits from there on, and the value then."""


class _Search:
    def __init__(self, history: list[Operation]) -> None:
        self._history = history
        self._best: State = (0, 0, 0)

    def run(self, initial: int) -> Stuck | None:
        first: State = (0, 0, initial)
        self._best = first
        tried = {first}
        stack = [self._after(first)]
        while stack:
            state = next(stack[-1], None)
            if state is None:
                stack.pop()
                continue
            if state in tried:
                continue
            if len(tried) >= STATES_MAX:
                raise TooHardError(f"{len(self._history)} operations, {STATES_MAX} states and no end")
            tried.add(state)
            if _done(state) > _done(self._best):
                self._best = state
            if state[0] == len(self._history):
                return None
            stack.append(self._after(state))
        return self._stuck() if self._history else None

    def _candidates(self, state: State) -> Iterator[int]:
        """Those that may be next: called before any that is left was answered."""
        base, bits, _ = state
        earliest = inf
        for index in range(base, len(self._history)):
            one = self._history[index]
            if one.invoked_at > earliest:
                return
            if not bits >> (index - base) & 1:
                earliest = min(earliest, one.returned_at)
                yield index

    def _after(self, state: State) -> Iterator[State]:
        base, bits, value = state
        # An answer may come after the call of one that was given out already: those are looked at again here.
        candidates = list(self._candidates(state))
        earliest = min((self._history[index].returned_at for index in candidates), default=inf)
        for index in candidates:
            one = self._history[index]
            if one.invoked_at > earliest or not (one.kind == "write" or one.found == value):
                continue
            yield _normal(base, bits | 1 << (index - base), one.value if one.wrote else value)

    def _stuck(self) -> Stuck:
        base, bits, value = self._best
        done = [index for index in range(len(self._history)) if index < base or bits >> (index - base) & 1]
        last = self._history[done[-1]] if done else None
        left = tuple(self._history[index] for index in self._candidates(self._best))
        return Stuck(value=value, done=len(done), last=last, next=left)


def _done(state: State) -> int:
    return state[0] + state[1].bit_count()


def _normal(base: int, bits: int, value: int) -> State:
    """Moves the index over what is done, so that two ways to one state look the same."""
    while bits & 1:
        base, bits = base + 1, bits >> 1
    return base, bits, value
