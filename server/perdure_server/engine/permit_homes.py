"""The homes of concurrency limits: which server gives the permits of which limit, and how it learns what is held.

Each limit has one home, by rendezvous hashing over the living servers. A home gives permits in *reigns*: it gathers
from every member what is wanted and held, then reads from the store what rows hold, and gives from then on. A member
that has reported to a reign takes permits of no other, and of none at all once it sees other members: then it is
gathered again.

Why there are never two too many, whoever is slow, stopped or cut off: `docs/adr/0015-concurrency-limits.md`.
"""

from __future__ import annotations

import asyncio
import uuid
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Protocol

import structlog

from perdure_proto.codec import encoder
from perdure_proto.errors import ServiceError
from perdure_server.cluster.rendezvous import owner_of
from perdure_server.engine import permit_letters as mail
from perdure_server.matching.permits import Claim, Grant, PermitTable
from perdure_server.store.port import Store, StoreUnavailableError

TICK_SECONDS = 0.25
"""So often it is tried again, and looked who is there, while anything is to be done."""
DOUBT_SECONDS = 5.0
"""A reign in which somebody waits and nothing was given for so long gathers anew: word of an end may be lost."""

_HOMES_CACHED_MAX = 10_000
_NOBODY = "(nobody)"
"""The home while no server is known."""

log = structlog.get_logger(__name__)


class Neighbours(Protocol):
    """The cluster as a home needs it."""

    @property
    def me(self) -> str:
        """This server."""
        ...

    def members(self) -> mail.Members:
        """The living servers in order of name, this one too."""
        ...

    def is_settled(self) -> bool:
        """Whether every shard is a living member's, or nobody's: those who are gone can write nothing any more."""
        ...

    def look(self) -> None:
        """Somebody sees other members: look now."""
        ...

    async def ask(self, server: str, body: bytes) -> bytes:
        """The answer to a letter. Raises `ServiceError` where there is none."""
        ...


class Alone:
    """A server without others: nobody is asked."""

    me = ""

    def members(self) -> mail.Members:
        return (("", False),)

    def is_settled(self) -> bool:
        return True

    def look(self) -> None:
        """There is nobody to see."""

    async def ask(self, server: str, body: bytes) -> bytes:
        raise AssertionError(f"there is no {server}: {body!r}")


class Owner(Protocol):
    """Whoever's runs want the permits of this server."""

    def notes(self) -> Iterable[mail.Note]:
        """All that is wanted and held here."""
        ...

    def granted(self, claim: Claim) -> bool:
        """Here is a permit. False: nobody wants it."""
        ...


class Reign:
    """A home's time between two gatherings."""

    def __init__(self, members: mail.Members, now: float) -> None:
        self.name = uuid.uuid4().hex
        self.members = members
        self.is_on = False
        self.table = PermitTable()
        self.last_grant_at = now
        self.heard: dict[str, int] = {}
        """The number of the last letter of each server."""
        self.early: list[mail.Tell] = []
        """Letters of those who have reported, while others have not."""
        self.to_give: dict[str, dict[int, Claim]] = {}
        """By server: permits of which it has not said yet that it has them."""


class Homes:
    """Both sides: this server as a home, and its dealings with the others' homes."""

    def __init__(self, owner: Owner, store: Store) -> None:
        self.neighbours: Neighbours = Alone()
        self._owner = owner
        self._store = store
        self._members: mail.Members = ()
        self._homes: dict[str, str] = {}
        self._reign: Reign | None = None
        self._gather_asked = False
        self._sworn: dict[str, str] = {}
        """By home: the reign to which we have reported, the only one whose permits count."""
        self._unmet: set[str] = set()
        """Homes with which we have business and that have not gathered us."""
        self._news: dict[str, dict[int, mail.Note]] = {}
        self._letters = 0
        self._busy: set[str] = set()
        """What is under way: one at a time of a sort for each server."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._driver: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def stop(self) -> None:
        """Nothing is given or taken any more."""
        self._reign = None
        for task in [*self._tasks, *([self._driver] if self._driver else [])]:
            task.cancel()

    def want(self, claim: Claim) -> bool:
        """An attempt wants a permit; true if it has it at once, else the owner is told when it does."""
        self._look()
        reign = self._my_reign(claim)
        if reign is None:
            self._note(mail.Note("want", claim))
            return False
        reign.table.want(claim, self.neighbours.me)
        grants = reign.table.grants(claim.limit)
        self._give([grant for grant in grants if grant.claim != claim])
        return any(grant.claim == claim for grant in grants)

    def hold(self, claim: Claim) -> None:
        """An attempt runs already: it was read from the store."""
        self._look()
        reign = self._my_reign(claim)
        if reign is None:
            self._note(mail.Note("hold", claim))
        else:
            reign.table.hold(claim)

    def drop(self, claim: Claim) -> None:
        """The attempt has ended, or wants no permit any more."""
        self._look()
        reign = self._my_reign(claim)
        if reign is None:
            self._note(mail.Note("drop", claim))
        else:
            reign.table.drop(claim)
            self._give(reign.table.grants(claim.limit))

    def take(self, body: bytes) -> bytes:
        """A letter of another server, and the answer."""
        self._look()
        self._drive()
        letter = mail.letter_decoder.decode(body)
        match letter:
            case mail.Gather():
                return encoder.encode(self._report(letter))
            case mail.Tell():
                return encoder.encode(self._hear(letter))
            case mail.Give():
                return encoder.encode(self._accept(letter))

    def _report(self, letter: mail.Gather) -> mail.Report:
        """Law: from now on this reign's permits count, and no earlier one's."""
        if letter.members != self._members:
            self.neighbours.look()
            return mail.Report(agreed=False)
        self._sworn[letter.home] = letter.reign
        self._unmet.discard(letter.home)
        self._news.pop(letter.home, None)
        return mail.Report(agreed=True, notes=tuple(self._notes_for(letter.home)))

    def _hear(self, letter: mail.Tell) -> mail.Told:
        reign = self._reign
        if letter.members != self._members:
            self.neighbours.look()
        elif reign is not None and letter.reign == reign.name:
            if reign.is_on:
                self._apply(reign, letter)
            else:
                reign.early.append(letter)
            return mail.Told(heard=True)
        elif reign is None or reign.is_on:  # else the one that begins asks the writer too
            self._gather_soon()
        return mail.Told(heard=False)

    def _accept(self, letter: mail.Give) -> mail.Given:
        if self._sworn.get(letter.home) != letter.reign:
            return mail.Given(known=False)
        refused = [claim.number for claim in letter.claims if not self._owner.granted(claim)]
        return mail.Given(known=True, refused=tuple(refused))

    def _apply(self, reign: Reign, letter: mail.Tell) -> None:
        """Law: letters count in the order in which they were written; one that comes late says nothing new."""
        if letter.number <= reign.heard.get(letter.server, 0):
            return
        reign.heard[letter.server] = letter.number
        for note in letter.notes:
            _enter(reign.table, note, letter.server)
        for limit in dict.fromkeys(note.claim.limit for note in letter.notes):
            self._give(reign.table.grants(limit))

    def _look(self) -> None:
        """Law: whoever sees other members has no home until it is gathered again, and is none until it has gathered."""
        members = self.neighbours.members()
        if members == self._members:
            return
        self._members = members
        self._homes.clear()
        self._sworn.clear()
        self._news.clear()
        self._reign = None
        self._unmet = {self._home_of(note.claim.limit) for note in self._owner.notes()}
        if self._unmet:
            self._drive()

    def _home_of(self, limit: str) -> str:
        home = self._homes.get(limit)
        if home is None:
            staying = [server for server, is_leaving in self._members if not is_leaving]
            candidates = staying or [server for server, _ in self._members]
            home = owner_of(zlib.crc32(limit.encode()), candidates) if candidates else _NOBODY
            if len(self._homes) < _HOMES_CACHED_MAX:
                self._homes[limit] = home
        return home

    def _my_reign(self, claim: Claim) -> Reign | None:
        """Our reign, if it is on and the limit is ours."""
        is_on = self._reign is not None and self._reign.is_on
        return self._reign if is_on and self._home_of(claim.limit) == self.neighbours.me else None

    def _notes_for(self, home: str) -> list[mail.Note]:
        return [note for note in self._owner.notes() if self._home_of(note.claim.limit) == home]

    def _note(self, note: mail.Note) -> None:
        """For a home that is not on here: told, or found when it gathers."""
        home = self._home_of(note.claim.limit)
        if home in self._sworn:  # never our own: that is looked up when our reign begins
            self._news.setdefault(home, {})[note.claim.number] = note
        elif note.kind != "drop":
            self._unmet.add(home)
        self._drive()

    def _drive(self) -> None:
        """There is something to do. The first time it begins: limits that nobody uses cost nothing."""
        self._wake.set()
        if self._driver is None:
            self._driver = asyncio.get_running_loop().create_task(self._drive_on(), name="permits")

    async def _drive_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                self._doubt()
                for home in self._unmet - {self.neighbours.me, _NOBODY}:
                    self._begin(f"meet {home}", partial(self._meet, home))
            self._wake.clear()
            self._turn()

    def _turn(self) -> None:
        """Whatever can leave now."""
        self._look()
        if self.neighbours.me in self._unmet and self._reign is None:
            self._gather_asked = True
        if self._gather_asked:
            self._begin("gather", self._gather)
        for home in [home for home, news in self._news.items() if news]:
            self._begin(f"tell {home}", partial(self._tell, home))
        if (reign := self._reign) is not None:
            for server in [server for server, claims in reign.to_give.items() if claims]:
                self._begin(f"give {server}", partial(self._hand, reign, server))

    def _doubt(self) -> None:
        """Somebody has waited for long: perhaps what is held is held by nobody any more."""
        reign = self._reign
        if reign is not None and reign.is_on and reign.table.waits:
            now = asyncio.get_running_loop().time()
            if now - reign.last_grant_at >= DOUBT_SECONDS:
                self._gather_asked = True

    def _begin(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        if what in self._busy:
            return
        self._busy.add(what)
        task = asyncio.get_running_loop().create_task(self._do(what, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (ServiceError, StoreUnavailableError) as error:
            log.debug("permits_repeated", what=what, reason=str(error))
            await asyncio.sleep(TICK_SECONDS)
        except Exception:  # one mistake must not end the giving of permits
            log.exception("permits_failed", what=what)
            await asyncio.sleep(TICK_SECONDS)
        finally:
            self._busy.discard(what)

    def _gather_soon(self) -> None:
        self._gather_asked = True
        self._wake.set()

    async def _gather(self) -> None:
        """Begins a reign: first all members, each sworn to it from its report on, then the store.

        In this order: what a member was given before is in its report, or in a row, and it is given nothing after.
        Ours comes last, in the moment in which the reign begins.
        """
        me, members = self.neighbours.me, self._members
        reign = self._reign = Reign(members, asyncio.get_running_loop().time())
        if not self.neighbours.is_settled():
            self._reign = None
            self.neighbours.look()
            await asyncio.sleep(TICK_SECONDS)
            return
        letter = encoder.encode(mail.Gather(home=me, reign=reign.name, members=members))
        try:
            reports = await self._reports(letter, [server for server, _ in members if server != me])
            rows = await self._store.permits_held() if reports is not None else []
        except BaseException:
            self._end(reign)
            raise
        if self._reign is not reign or reports is None:
            self._end(reign)
            return
        for server, report in {**reports, me: mail.Report(agreed=True, notes=tuple(self._notes_for(me)))}.items():
            for note in report.notes:
                _enter(reign.table, note, server)
        for row in rows:
            if self._home_of(row.permit) == me:
                reign.table.stored(row.permit, (row.run_id, row.scheduled_event_id))
        self._begin_reign(reign)

    def _begin_reign(self, reign: Reign) -> None:
        self._gather_asked = False
        self._unmet.discard(self.neighbours.me)
        reign.is_on = True
        for letter in reign.early:
            self._apply(reign, letter)
        self._give(reign.table.all_grants())

    def _end(self, reign: Reign) -> None:
        if self._reign is reign:
            self._reign = None

    async def _reports(self, letter: bytes, servers: Collection[str]) -> dict[str, mail.Report] | None:
        """What everybody says; None if somebody sees other members."""
        answers = await asyncio.gather(*[self.neighbours.ask(server, letter) for server in servers])
        reports = {server: mail.report_decoder.decode(answer) for server, answer in zip(servers, answers, strict=True)}
        if all(report.agreed for report in reports.values()):
            return reports
        self.neighbours.look()
        await asyncio.sleep(TICK_SECONDS)
        return None

    async def _meet(self, home: str) -> None:
        """Asks a home to gather us."""
        letter = mail.Tell(server=self.neighbours.me, reign="", members=self._members)
        await self.neighbours.ask(home, encoder.encode(letter))

    async def _tell(self, home: str) -> None:
        """Tells a home our news. What it did not hear is told again, under a new number."""
        sworn, news = self._sworn.get(home), self._news.pop(home, {})
        if sworn is None or not news:
            return
        self._letters += 1
        letter = mail.Tell(
            server=self.neighbours.me,
            reign=sworn,
            members=self._members,
            number=self._letters,
            notes=tuple(news.values()),
        )
        try:
            told = mail.told_decoder.decode(await self.neighbours.ask(home, encoder.encode(letter)))
        except ServiceError:
            if self._sworn.get(home) == sworn:
                self._news[home] = {**news, **self._news.get(home, {})}
            raise
        if not told.heard and self._sworn.get(home) == sworn:
            del self._sworn[home]
            self._news.pop(home, None)
            self._unmet.add(home)
        self._wake.set()

    def _give(self, grants: list[Grant]) -> None:
        """Gives permits to their owners: ours at once, the others' by letter."""
        reign = self._reign
        if not grants or reign is None:
            return
        reign.last_grant_at = asyncio.get_running_loop().time()
        for grant in grants:
            if grant.server != self.neighbours.me:
                reign.to_give.setdefault(grant.server, {})[grant.claim.number] = grant.claim
                self._wake.set()
            elif not self._owner.granted(grant.claim):
                self.drop(grant.claim)

    async def _hand(self, reign: Reign, server: str) -> None:
        """Law: what was given is held until its owner refuses it; who does not answer is asked again."""
        claims = dict(reign.to_give[server])
        letter = mail.Give(home=self.neighbours.me, reign=reign.name, claims=tuple(claims.values()))
        given = mail.given_decoder.decode(await self.neighbours.ask(server, encoder.encode(letter)))
        if self._reign is not reign:
            return
        if not given.known:
            self._gather_soon()
            return
        for number in claims:
            reign.to_give[server].pop(number, None)
        for number in given.refused:
            reign.table.drop(claims[number])
            self._give(reign.table.grants(claims[number].limit))
        self._wake.set()


def _enter(table: PermitTable, note: mail.Note, server: str) -> None:
    match note.kind:
        case "want":
            table.want(note.claim, server)
        case "hold":
            table.hold(note.claim)
        case "drop":
            table.drop(note.claim)
