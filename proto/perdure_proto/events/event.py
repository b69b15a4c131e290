"""What every event has.

Names, ids and causal attributes are Temporal's. An event is immutable, carries its own id and time, and encodes to
one flat JSON object whose `event_type` is the class name. Fields that hold their default are left out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import msgspec
from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True, tag_field="event_type", tag=True, omit_defaults=True, gc=False):
    """What every event has: its place in the history and its time.

    >>> Event(event_id=7, event_time=datetime.min).event_type
    'Event'
    """

    type_id: ClassVar[int] = 0
    event_id: int
    event_time: datetime

    @property
    def event_type(self) -> str:
        """Temporal's name of the type, without its prefix."""
        return type(self).__name__

    @property
    def attributes(self) -> dict[str, Any]:
        """All fields but id and time."""
        fields = msgspec.structs.asdict(self)
        del fields["event_id"], fields["event_time"]
        return fields
