"""Waitpoints: whoever has the token of one completes it, once, with a JSON value.

Law: a token is checked before anything is read for it; what completes a waitpoint is a signal whose request id is the
token, so that a repeat is known for as long as the run is, and a waitpoint is completed by one of its tokens alone.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from perdure_proto import service as svc
from perdure_proto.codec import decode_events, encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import AnyEvent, WorkflowExecutionSignaled
from perdure_proto.payload import BASE64_JSON, PLAIN, is_unstorable
from perdure_proto.waitpoint_secret import RotateWaitpointSecretAnswer, RotateWaitpointSecretRequest
from perdure_proto.waitpoints import WaitpointToken
from perdure_server.engine.checks import check_payload
from perdure_server.engine.execution import Execution
from perdure_server.engine.waitpoint_keys import WaitpointKeys
from perdure_server.history import requests as req

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure_server.engine.engine import Engine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIFFERENT = "this waitpoint was completed before, with another value: the first one counts"


class Waitpoints:
    """Completes waitpoints, and tells workers how to make their tokens."""

    def __init__(self, engine: Engine, public_url: str) -> None:
        self._engine = engine
        self._public_url = public_url
        self._keys = WaitpointKeys(engine)

    async def settings(self, namespace: str) -> svc.WaitpointSettings:
        """What a worker needs to make tokens of its namespace."""
        row = await self._engine.residents.namespaces.get(namespace)
        return svc.WaitpointSettings(
            key=(await self._keys.current(namespace)).hex(),
            namespace_id=row.namespace_id,
            shards=self._engine.residents.shards,
            url=self._public_url,
        )

    async def rotate(self, request: RotateWaitpointSecretRequest) -> RotateWaitpointSecretAnswer:
        """Another secret signs from now on; what the old one has signed is taken for the grace."""
        return RotateWaitpointSecretAnswer(old_valid_until=await self._keys.rotate(request.grace))

    async def resume(self, text: str, value: Raw) -> svc.Acknowledged:
        """Completes the waitpoint of a token; the same again is answered as before."""
        token, spellings = await self._keys.opened(text)
        check_payload("the value", self._engine.limits, value)
        arguments, encoding = _arguments(value)
        while True:
            execution = await self._engine.residents.find_run(token.shard_id, token.run_id)
            if execution is None:
                raise ServiceError(Code.WORKFLOW_NOT_FOUND, f"the run {token.run_id} that waited is gone")
            used = next((one for one in spellings if one in execution.state.request_ids), None)
            if used is not None:
                return await self._repeated(execution, used, (arguments, encoding))
            await self._refuse(execution, token)
            if not execution.holds_signals:
                break
            await execution.task_end()
        signal = req.SignalExecution(signal_name=token.signal_name, input=arguments, encoding=encoding, request_id=text)
        decision = self._engine.transact(execution, signal)
        if decision.refused is not None:
            await self._engine.settled(execution)
            raise decision.refused
        await self._engine.acknowledged(execution)
        return svc.Acknowledged(run_id=execution.run_id)

    async def _refuse(self, execution: Execution, token: WaitpointToken) -> None:
        """A run that is closed waits for nothing, nor does one whose time is over."""
        if not execution.state.is_open:
            await self._engine.settled(execution)
            message = f"the run that waited is closed ({execution.state.status})"
            raise ServiceError(Code.WORKFLOW_CLOSED, message, status=execution.state.status)
        if token.expires_at_ms:
            expired_at = _EPOCH + timedelta(milliseconds=token.expires_at_ms)
            if self._engine.now() >= expired_at:
                raise ServiceError(Code.WAITPOINT_EXPIRED, f"this waitpoint expired at {expired_at.isoformat()}")

    async def _repeated(self, execution: Execution, text: str, given: tuple[Raw, str]) -> svc.Acknowledged:
        """The first answer, once what it was about is durable; a refusal where the value is another."""
        signal = _find(execution.state.buffer, text)
        await self._engine.acknowledged(execution)
        if signal is None:
            signal = await self._read(execution, text)
        if signal is None or _plain(signal.input, signal.encoding) != _plain(*given):
            raise ServiceError(Code.WAITPOINT_USED, _DIFFERENT)
        return svc.Acknowledged(run_id=execution.run_id)

    async def _read(self, execution: Execution, text: str) -> WorkflowExecutionSignaled | None:
        """The signal from the log: repeats are rare, so that nothing is kept for them in memory."""
        engine, after = self._engine, 0
        while after < execution.state.last_event_id:
            rows = await engine.store.history(
                execution.key.shard_id, execution.run_id, after, engine.settings.history_page_rows
            )
            for row in rows:
                if text.encode() in row.events:
                    found = _find(decode_events(row.events), text)
                    if found is not None:
                        return found
            if not rows:
                break
            after = rows[-1].last_event_id
        return None


def _find(events: Iterable[AnyEvent], request_id: str) -> WorkflowExecutionSignaled | None:
    for event in events:
        if isinstance(event, WorkflowExecutionSignaled) and event.request_id == request_id:
            return event
    return None


def _arguments(value: Raw) -> tuple[Raw, str]:
    """The value as the one argument of a signal, in a form that can be kept. Raises `MALFORMED_JSON`."""
    try:
        decoded = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServiceError(Code.MALFORMED_JSON, f"the value is not valid JSON: {error}") from None
    data = bytes(value)
    if is_unstorable(data):  # also a pair of escaped surrogates, which is a character
        data = encoder.encode(decoded)
    if is_unstorable(data):
        return Raw(b'["' + b64encode(data) + b'"]'), BASE64_JSON
    return Raw(b"[" + data + b"]"), PLAIN


def _plain(arguments: Raw, encoding: str) -> tuple[object, str]:
    return msgspec.json.decode(arguments), encoding
