"""The request with which an operator changes the secret of waitpoint tokens, and its answer."""

from __future__ import annotations

from datetime import datetime, timedelta

from perdure_proto.service import Message


class RotateWaitpointSecretRequest(Message, frozen=True, kw_only=True):
    """`POST /api/v1/waitpoint-secret`: tokens that are out stay good for `grace`; 0 makes them worthless at once."""

    grace: timedelta = timedelta(days=7)


class RotateWaitpointSecretAnswer(Message, frozen=True, kw_only=True):
    """Until when the tokens made before are taken."""

    old_valid_until: datetime
