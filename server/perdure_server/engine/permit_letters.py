"""What owners of runs and homes of limits write to each other about permits.

`members` is whom the writer takes for the cluster: two who disagree about it do not deal with each other. A `reign` is
a home's time between two gatherings; the word of another one does not count.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from perdure_server.matching.permits import Claim

Members = tuple[tuple[str, bool], ...]
"""The living servers by name, and whether each leaves."""

NoteKind = Literal["want", "hold", "drop"]


class Note(Struct, frozen=True):
    """How it stands with a claim."""

    kind: NoteKind
    claim: Claim


class Gather(Struct, frozen=True, kw_only=True, tag="gather"):
    """A home begins a reign and asks for everything that its limits concern; what it granted before is void."""

    home: str
    reign: str
    members: Members


class Report(Struct, frozen=True, kw_only=True):
    """All that an owner has under the limits of a home. Not `agreed`: it sees other members, and has looked again."""

    agreed: bool
    notes: tuple[Note, ...] = ()


class Tell(Struct, frozen=True, kw_only=True, tag="tell"):
    """An owner's news, numbered. No reign: it knows of none, and asks to be gathered."""

    server: str
    reign: str
    members: Members
    number: int = 0
    notes: tuple[Note, ...] = ()


class Told(Struct, frozen=True, kw_only=True):
    """Whether it was heard."""

    heard: bool


class Give(Struct, frozen=True, kw_only=True, tag="give"):
    """Permits for an owner; a repeat changes nothing."""

    home: str
    reign: str
    claims: tuple[Claim, ...]


class Given(Struct, frozen=True, kw_only=True):
    """Not `known`: the owner does not deal with this reign. `refused` are the numbers of claims that need none."""

    known: bool
    refused: tuple[int, ...] = ()


Letter = Gather | Tell | Give
Answer = Report | Told | Given

letter_decoder: msgspec.json.Decoder[Letter] = msgspec.json.Decoder(Letter)
report_decoder = msgspec.json.Decoder(Report)
told_decoder = msgspec.json.Decoder(Told)
given_decoder = msgspec.json.Decoder(Given)
