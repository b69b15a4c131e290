"""Histories in Temporal's JSON export format, written and read without loss.

The format is proto3 JSON of `temporal.api.history.v1.History`: camelCase, 64-bit integers as strings, durations as
`"10s"`, payloads in base64. On reading, both spellings of event types and enums are taken (`EVENT_TYPE_TIMER_FIRED`
and `TimerFired`), and what perdure has no field for is ignored; an event type that perdure does not have is refused.

What only perdure has is carried beside Temporal's attributes, under names that begin with `perdure`: a field that
Temporal's attributes do not bring back exactly is written again as `perdureFieldName`, in perdure's own encoding.
So our events come back equal, and readers of Temporal's format, which ignore names that they do not know, see an
ordinary history. Three more conventions:

- Keyword arguments are one more payload after the positional ones, marked `perdure: kwargs` in its metadata.
- Values in the encoding `json/base64` are ordinary `json/plain` payloads, marked `perdure: json/base64`.
- Payloads of another encoding keep it in the field `encoding`, their data as base64. Where one list holds payloads
  of several encodings, or metadata beyond the encoding, `encoding` is `temporal/payload` and each value is the
  base64 of the whole payload as JSON.

Rules: one entry a field in the tables (`failure`, `table`), no code a type. This package knows events, failures and
options, and nothing of logs or servers.
"""

from perdure_proto.temporal_json.history import history_from_json, history_to_json

__all__ = ["history_from_json", "history_to_json"]
