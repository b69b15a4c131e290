"""The links of a worker: one to each server, made when a server comes and ended when it is gone.

Who is there is asked again every few seconds, and at once when a link fails or a server names another. While there is
one server the one link goes to the address that was given. A server that cannot be reached from here has a link too:
another one passes on what goes over it.
Laws: there is always a link. A link whose server has left the cluster goes on for as long as it is answered; what is
not answered when it ends goes to another one, which knows whom to tell. No link ends the worker while another lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol
from uuid import uuid4

from msgspec import Struct

from perdure.exceptions import RPCError
from perdure_proto.codec import encoder
from perdure_proto.tasks import LeaveRequest, PollAnswer, RespondAnswer, WorkerInfo
from perdure_worker.exchange import Transport
from perdure_worker.link import Link, LinkParts
from perdure_worker.responder import Kept
from perdure_worker.shares import Shares
from perdure_worker.telemetry import LEAVE_FAILED, LINK_ENDED, LINK_REFUSED, SERVER_OUT_OF_REACH, log

LOOK_EVERY_SECONDS: Final = 2.0
LOOK_EVERY_SECONDS_UNTOLD: Final = 30.0
"""How often a service that does not tell who is there is asked."""
GIVEN: Final = ""
"""The address of the link that goes wherever the given address leads."""


class Servers(Transport, Protocol):
    """The client's way to the service: to any server by `send`, or to one of them."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the members are, as they tell."""
        ...

    def to(self, address: str) -> Transport:
        """The way to one member."""
        ...

    def address_for(self, namespace: str, workflow_id: str) -> str:
        """The owner of a workflow; empty while nobody is known."""
        ...

    async def reaches(self, address: str) -> bool:
        """Whether a member can be asked itself."""
        ...

    async def look_again(self) -> bool:
        """Asks who is there, at most once a second; whether a server said it."""
        ...

    def let_go(self, address: str) -> None:
        """Closes what leads to an address, unless it is a member's or was given."""
        ...


class LinksParts(Struct, frozen=True, kw_only=True):
    """What the links of a worker are made of."""

    servers: Servers
    shares: Shares
    describe: Callable[[], WorkerInfo]
    namespace: str
    queue_path: str
    take: Callable[[Link, PollAnswer | RespondAnswer], None]
    resend: Callable[[Kept], None]
    """What was not answered when its link ended."""


class Links:
    """The links of one worker. They share a session id, its numbers and the slots."""

    def __init__(self, parts: LinksParts) -> None:
        self.session_id = str(uuid4())
        self._parts = parts
        self._servers = parts.servers
        self._links: dict[str, Link] = {}
        self._told: set[str] = set()
        self._out_of_reach: set[str] = set()
        self._hurry = asyncio.Event()
        self._link_parts = LinkParts(
            session_id=self.session_id,
            numbers=count(1),
            describe=parts.describe,
            shares=parts.shares,
            queue_path=parts.queue_path,
            take=parts.take,
            changed=self._hurry.set,
        )
        self._make(GIVEN)

    # ---- ways --------------------------------------------------------------------------------------------------

    def to(self, address: str) -> Link | None:
        """The link of the server at an address; where there is none, it is looked for."""
        link = self._links.get(address) if address else None
        if link is None:
            self._told.update(filter(None, (address,)))
            self._hurry.set()
        return link

    def any(self) -> Link:
        """A link that lives, best one whose server answers."""
        links = [link for link in self._links.values() if not link.retired] or list(self._links.values())
        return next((link for link in links if link.session.is_introduced and not link.in_trouble), links[0])

    def for_workflow(self, workflow_id: str) -> Link | None:
        """The link of the server that owns a workflow."""
        if len(self._links) == 1:
            return self.any()
        return self._links.get(self._servers.address_for(self._parts.namespace, workflow_id))

    # ---- life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps a link to each server, until it is cancelled or refused for good."""
        knows = True
        try:
            while True:
                await self._adjust()
                await self._news(LOOK_EVERY_SECONDS if knows else LOOK_EVERY_SECONDS_UNTOLD)
                self._put_away_refused()
                if self._told:
                    await self._adjust()
                knows = await self._servers.look_again()
        finally:
            for link in self._links.values():
                link.retire()

    def stop(self) -> None:
        """Gives up what is in flight: the worker has left."""
        for link in self._links.values():
            link.responder.stop()

    async def leave(self, timeout: float) -> None:
        """Says on all links that the session ends."""
        body = encoder.encode(LeaveRequest(session=self.session_id))
        await asyncio.gather(*[self._leave(link, body, timeout) for link in self._links.values()])

    async def _leave(self, link: Link, body: bytes, timeout: float) -> None:
        try:
            await link.transport.send("POST", f"{self._parts.queue_path}/leave", body, timeout)
        except RPCError as error:
            log.info(LEAVE_FAILED, address=link.address, error=str(error))

    async def _news(self, timeout: float) -> None:
        """Waits until it is time to look again who is there."""
        try:
            async with asyncio.timeout(timeout):
                await self._hurry.wait()
        except TimeoutError:
            return
        self._hurry.clear()

    # ---- who is linked -----------------------------------------------------------------------------------------

    async def _adjust(self) -> None:
        """Makes the links that are wanted, and ends those that are not."""
        wanted = await self._wanted()
        for address in wanted:
            link = self._links.get(address) or self._make(address)
            link.begin()
        for link in [link for address, link in self._links.items() if address not in wanted]:
            if link.address == GIVEN:
                link.retire()
            if link.in_trouble or link.is_over:
                self._end(link)

    async def _wanted(self) -> list[str]:
        addresses = self._servers.addresses
        told, self._told = self._told, set()
        if len(addresses) <= 1 and not told and self._links.keys() == {GIVEN}:
            return [GIVEN]
        found = [address for address in dict.fromkeys((*addresses, *told)) if await self._can_link(address)]
        return found or [GIVEN]

    async def _can_link(self, address: str) -> bool:
        """A member can be linked always: what it cannot be asked itself another passes on to it."""
        if address in self._links or address in self._servers.addresses or await self._servers.reaches(address):
            self._out_of_reach.discard(address)
            return True
        if address not in self._out_of_reach:
            self._out_of_reach.add(address)
            log.warning(SERVER_OUT_OF_REACH, address=address)
        return False

    def _make(self, address: str) -> Link:
        transport = self._servers if address == GIVEN else self._servers.to(address)
        link = self._links[address] = Link(address, transport, self._link_parts)
        return link

    def _end(self, link: Link) -> None:
        del self._links[link.address]
        if link.has_begun:
            log.info(LINK_ENDED, address=link.address)
        kept = link.end()
        self._servers.let_go(link.address)
        if not self._links:
            self._make(GIVEN).begin()
        for one in kept:
            self._parts.resend(one)

    def _put_away_refused(self) -> None:
        """Raises what the service refused for good, where no other link lives; else the link is tried anew later."""
        for link in [link for link in self._links.values() if link.refusal is not None]:
            refusal = link.refusal
            assert refusal is not None, "it was chosen for that"
            if len(self._links) == 1 or not isinstance(refusal, RPCError):
                raise refusal
            log.warning(LINK_REFUSED, address=link.address, error=str(refusal))
            self._end(link)
