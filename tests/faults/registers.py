"""The set and the registers: workflows whose state clients write, compare and read side by side, while everything
fails; what they were told is then checked for an order in which it could have happened.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from math import inf
from typing import TypeVar

from msgspec import Struct

from perdure import Client
from tests.faults.caller import Caller
from tests.faults.collection import Add, Look, check_collection
from tests.faults.journal import Answer, Journal
from tests.faults.linearizability import Kind, Operation, TooHardError, check_register
from tests.programs import under_faults as program

T = TypeVar("T")

REGISTERS = 3
CLIENTS_EACH = 3
SET = "the-set"
PAUSE_SECONDS_MAX = 0.5
PATIENCE_SECONDS = 3.0
"""Then a caller drops its call and makes another: nobody knows what comes of the first."""
LOOK_ONE_IN = 8


class Verdict(Struct, frozen=True, kw_only=True):
    """What was found out."""

    operations: int
    adds: int
    looks: int
    wrong: list[str]


class Registers:
    """Registers and the set with their clients."""

    def __init__(self, clients: Sequence[Client], journal: Journal, *, seed: int) -> None:
        self._clients = clients
        self._journal = journal
        self._seed = seed
        self._values = itertools.count(1)
        self._talking: list[asyncio.Task[None]] = []
        self.histories: dict[str, list[Operation]] = {f"register-{n + 1}": [] for n in range(REGISTERS)}
        self.adds: list[Add] = []
        self.looks: list[Look] = []

    async def start(self) -> None:
        """Start the workflows, then their clients."""
        for key in self.histories:
            await self._caller(key, 0).start(program.register, program.Cell())
        await self._caller(SET, 0).start(program.collection, [])
        for index in range(CLIENTS_EACH):
            for key in self.histories:
                self._spawn(self._talk_to_register(key, self._caller(key, index)))
            self._spawn(self._talk_to_set(f"client-{index + 1}", self._caller(SET, index)))

    async def finish(self) -> None:
        """Let each client end its last call, look once more, and end the workflows."""
        self._enough = True
        await asyncio.gather(*self._talking)
        for key, history in self.histories.items():
            caller = self._caller(key, 0)
            history.append(await self._query(caller))
            await caller.end(program.enough)
            invoked_at = self._journal.now()
            history.append(self._read(invoked_at, await caller.result()))
        caller = self._caller(SET, 0)
        await self._look(caller)
        await caller.end(program.enough)
        invoked_at = self._journal.now()
        values = tuple(await caller.result())
        self.looks.append(Look(invoked_at=invoked_at, returned_at=self._journal.now(), values=values))

    async def stop(self) -> None:
        for task in self._talking:
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)

    def judge(self) -> Verdict:
        """Whether all of it could have happened."""
        wrong = [f"{SET}: {text}" for text in check_collection(self.adds, self.looks)]
        for key, history in self.histories.items():
            wrong += [f"{key}: {text}" for text in _judge_register(history)]
        count = sum(map(len, self.histories.values()))
        return Verdict(operations=count, adds=len(self.adds), looks=len(self.looks), wrong=wrong)

    _enough = False

    def _caller(self, key: str, index: int) -> Caller:
        return Caller(self._clients, self._journal, key, random.Random(f"{self._seed} {key} {index}"))

    def _spawn(self, talk: Awaitable[None]) -> None:
        self._talking.append(asyncio.ensure_future(self._watched(talk)))

    async def _watched(self, talk: Awaitable[None]) -> None:
        try:
            await talk
        except Exception as error:  # noqa: BLE001 - whatever a call raises is a finding
            self._journal.blame(f"set and registers: {type(error).__name__}: {error}")

    async def _talk_to_register(self, key: str, caller: Caller) -> None:
        seen = 0
        while not self._enough:
            kind = caller.chance.choice(["read", "query", "write", "cas"])
            operation = await self._operations[kind](self, caller, seen)
            self.histories[key].append(operation)
            if operation.known:
                seen = operation.value if operation.wrote else operation.found
            await asyncio.sleep(PAUSE_SECONDS_MAX * caller.chance.random())

    async def _query(self, caller: Caller, _: int = 0) -> Operation:
        return _told("read", await _ask(caller, "query", lambda: caller.handle().query(program.value_now)))

    async def _update_read(self, caller: Caller, _: int) -> Operation:
        return _told("read", await _ask(caller, "update", lambda: caller.handle().execute_update(program.read)))

    async def _write(self, caller: Caller, _: int) -> Operation:
        value = next(self._values)
        answer = await _ask(caller, "update", lambda: caller.handle().execute_update(program.write, value))
        return _told("write", answer, value)

    async def _cas(self, caller: Caller, seen: int) -> Operation:
        value = next(self._values)
        answer = await _ask(caller, "update", lambda: caller.handle().execute_update(program.cas, seen, value))
        return _told("cas", answer, value, seen)

    _operations = {"read": _update_read, "query": _query, "write": _write, "cas": _cas}  # noqa: RUF012 - never changed

    def _read(self, invoked_at: float, value: int) -> Operation:
        return Operation(kind="read", invoked_at=invoked_at, returned_at=self._journal.now(), found=value)

    async def _talk_to_set(self, name: str, caller: Caller) -> None:
        ways: Iterator[Callable[[Caller, int], Awaitable[Answer[object]]]] = itertools.cycle([self._signal, self._add])
        for way in ways:
            if self._enough:
                return
            value = next(self._values)
            answer = await way(caller, value)
            returned_at = answer.returned_at if answer.known else inf
            self.adds.append(Add(value=value, caller=name, invoked_at=answer.invoked_at, returned_at=returned_at))
            if caller.chance.randrange(LOOK_ONE_IN) == 0:
                await self._look(caller)
            await asyncio.sleep(PAUSE_SECONDS_MAX * caller.chance.random())

    async def _signal(self, caller: Caller, value: int) -> Answer[object]:
        return await _ask(caller, "signal", lambda: caller.handle().signal(program.number, value))

    async def _add(self, caller: Caller, value: int) -> Answer[object]:
        return await _ask(caller, "update", lambda: caller.handle().execute_update(program.add, value))

    async def _look(self, caller: Caller) -> None:
        answer = await _ask(caller, "query", lambda: caller.handle().query(program.elements_now))
        if answer.value is not None:
            values = tuple(answer.value)
            self.looks.append(Look(invoked_at=answer.invoked_at, returned_at=answer.returned_at, values=values))


async def _ask(caller: Caller, kind: str, ask: Callable[[], Awaitable[T]]) -> Answer[T]:
    return await caller.once(kind, ask, patience=PATIENCE_SECONDS)


def _told(kind: Kind, answer: Answer[int] | Answer[None], value: int = 0, expected: int = 0) -> Operation:
    return Operation(
        kind=kind,
        invoked_at=answer.invoked_at,
        returned_at=answer.returned_at if answer.known else inf,
        known=answer.known,
        value=value,
        expected=expected,
        found=answer.value or 0,
    )


def _judge_register(history: Sequence[Operation]) -> list[str]:
    try:
        stuck = check_register(history)
    except TooHardError as error:
        return [f"not decided: {error}"]
    return [] if stuck is None else [f"not linearizable: {stuck}"]
