"""The kinds of entries that tables are made of, each a function that makes one.

A place is given only where it is not the field's own name in camelCase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Raw

from perdure_proto.codec import encoder
from perdure_proto.payload import NULL, PLAIN
from perdure_proto.temporal_json import notation as n
from perdure_proto.temporal_json import payloads as p
from perdure_proto.temporal_json.message import Entry, Message, read_object

MAP = n.Notation(lambda value: p.write_map(value) if value else None, p.read_map)
"""Payloads by name."""


def camel(name: str) -> str:
    """A field's name as Temporal's JSON has it.

    >>> camel("workflow_task_completed_event_id")
    'workflowTaskCompletedEventId'
    """
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def at(field: str, notation: n.Notation, *place: str) -> Entry:
    """One field in a notation."""

    def write(value: Any) -> object:  # noqa: ANN401 - every Struct of the tables
        return notation.write(getattr(value, field))

    def read(leaf: Raw) -> Mapping[str, Any]:
        found = notation.read(leaf)
        return {} if found is None else {field: found}

    return Entry(fields=(field,), place=place or (camel(field),), write=write, read=read)


def text(field: str, *place: str) -> Entry:
    return at(field, n.TEXT, *place)


def flag(field: str) -> Entry:
    return at(field, n.FLAG)


def int32(field: str) -> Entry:
    return at(field, n.INT32)


def int64(*fields: str) -> list[Entry]:
    """Event ids, mostly."""
    return [at(field, n.INT64) for field in fields]


def texts(*fields: str) -> list[Entry]:
    return [text(field) for field in fields]


def timeouts(*fields: str) -> list[Entry]:
    """Durations where zero means none."""
    return [at(field, n.OPTIONAL_DURATION) for field in fields]


def named(field: str) -> Entry:
    """A workflow type or activity type: an object with a name."""
    return text(field, camel(field), "name")


def execution(workflow_id: str, run_id: str, place: str) -> list[Entry]:
    """The two ids of an execution."""
    return [text(workflow_id, place, "workflowId"), text(run_id, place, "runId")]


def derived(write: Callable[[Any], object], *place: str) -> Entry:
    """What Temporal's readers want to see and perdure knows from elsewhere."""
    return Entry(fields=(), place=place, write=write, read=lambda _: {})


def task_queue() -> list[Entry]:
    """A queue that all workers share."""
    return [
        text("task_queue", "taskQueue", "name"),
        derived(lambda value: "TASK_QUEUE_KIND_NORMAL" if value.task_queue else None, "taskQueue", "kind"),
    ]


def normal_name() -> Entry:
    """The queue that all share, beside that of one worker."""
    return Entry(
        fields=("task_queue",),
        place=("taskQueue", "normalName"),
        write=lambda value: n.TEXT.write(value.task_queue) if value.sticky else None,
        read=text("task_queue").read,
    )


def update_request(place: str) -> list[Entry]:
    """The message by which an update came."""
    return [
        text("update_id", place, "meta", "updateId"),
        text("identity", place, "meta", "identity"),
        text("update_name", place, "input", "name"),
        arguments(place, "input", "args"),
        at("header", MAP, place, "input", "header", "fields"),
    ]


def request_message_id() -> Entry:
    """Temporal's SDKs name the message of a request after its update."""
    return derived(lambda value: f"{value.update_id}/request", "acceptedRequestMessageId")


def nested(field: str, message: Callable[[], Message[Any]], *place: str) -> Entry:
    """A Struct in a Struct. The table is called for, so that a failure can be the cause of a failure."""

    def write(value: Any) -> object:  # noqa: ANN401 - every Struct of the tables
        below = getattr(value, field)
        return None if below is None else message().write(below)

    return Entry(
        fields=(field,),
        place=place or (camel(field),),
        write=write,
        read=lambda leaf: {field: message().read(read_object(leaf))},
        exact=True,
    )


def variant(field: str, message: Message[Any], key: str) -> Entry:
    """One member of a union that is told by its key."""

    def write(value: Any) -> object:  # noqa: ANN401 - every Struct of the tables
        member = getattr(value, field)
        return message.write(member) if type(member) is message.type else None

    return Entry(
        fields=(field,),
        place=(key,),
        write=write,
        read=lambda leaf: {field: message.read(read_object(leaf))},
        exact=True,
    )


def mapping(field: str, inner: str) -> Entry:
    """A memo, a header or search attributes: payloads by name, in an object of one name."""
    return at(field, MAP, camel(field), inner)


def header() -> Entry:
    return mapping("header", "fields")


def memo() -> Entry:
    return mapping("memo", "fields")


def search_attributes() -> Entry:
    return mapping("search_attributes", "indexedFields")


def summary(field: str, place: str, *, unsaid: str | None = "") -> Entry:
    """A text of `userMetadata`, which is a payload there. One that is no plain text is no summary here.

    `unsaid` is the value that leaves none.
    """

    def write(value: Any) -> object:  # noqa: ANN401 - every Struct of the tables
        shown = getattr(value, field)
        return p.seal(Raw(encoder.encode(shown)), PLAIN) if shown != unsaid else None

    def read(leaf: Raw) -> Mapping[str, Any]:
        shown = p.read_text(leaf)
        return {} if shown is None or shown == unsaid else {field: shown}

    return Entry(fields=(field,), place=("userMetadata", place), write=write, read=read)


def arguments(*place: str) -> Entry:
    """`input`, `kwargs` and `encoding`: a list of payloads, the keyword arguments last and marked."""

    def write(value: Any) -> object:  # noqa: ANN401 - every Struct of the tables
        sealed = p.seal_all(p.split(value.input), value.encoding).payloads
        if value.kwargs != NULL:
            sealed = (*sealed, p.payload(bytes(value.kwargs), encoding=p.JSON_PLAIN, perdure=p.KWARGS))
        return p.Payloads(sealed) if sealed else None

    def read(leaf: Raw) -> Mapping[str, Any]:
        sealed = p.read_payloads(leaf)
        kwargs = NULL
        if sealed and p.metadata_of(sealed[-1], p.MARK) == p.KWARGS:
            kwargs, sealed = p.unseal(sealed[-1], PLAIN), sealed[:-1]
        values, encoding = p.unseal_all(sealed)
        return {"input": p.join(values), "kwargs": kwargs, "encoding": encoding}

    return Entry(fields=("input", "kwargs", "encoding"), place=place or ("input",), write=write, read=read)


def result(field: str = "result", *place: str, unless: str = "") -> Entry:
    """One value and its `encoding`. Nothing is a value too, as in Temporal: a payload `binary/null`.

    `unless` names the field that, when set, says that there is no value. A list of several payloads, which Go can
    return, is read as an array.
    """

    def write(value: Any) -> object:  # noqa: ANN401 - every Struct of the tables
        if unless and getattr(value, unless) is not None:
            return None
        return p.seal_all([getattr(value, field)], value.encoding)

    def read(leaf: Raw) -> Mapping[str, Any]:
        values, encoding = p.unseal_all(p.read_payloads(leaf))
        return {field: values[0] if len(values) == 1 else p.join(values) if values else NULL, "encoding": encoding}

    return Entry(fields=(field, "encoding"), place=place or (camel(field),), write=write, read=read)


def last_result() -> Entry:
    """The last result of a chain and its encoding. Nothing is a value too, where a run is named that gave it."""

    def write(value: Any) -> object:  # noqa: ANN401 - every Struct of the tables
        if value.last_completion_result == NULL and not value.last_completion_run_id:
            return None
        return p.seal_all([value.last_completion_result], value.last_completion_encoding)

    def read(leaf: Raw) -> Mapping[str, Any]:
        values, encoding = p.unseal_all(p.read_payloads(leaf))
        found = values[0] if len(values) == 1 else p.join(values) if values else NULL
        return {"last_completion_result": found, "last_completion_encoding": encoding}

    return Entry(
        fields=("last_completion_result", "last_completion_encoding"),
        place=("lastCompletionResult",),
        write=write,
        read=read,
    )


def details(field: str = "details") -> Entry:
    """An array of values, or nothing, and its `encoding`."""

    def write(value: Any) -> object:  # noqa: ANN401 - every Struct of the tables
        raw = getattr(value, field)
        sealed = p.seal_all(p.split(raw), value.encoding)
        return None if raw == NULL or not sealed.payloads else sealed

    def read(leaf: Raw) -> Mapping[str, Any]:
        values, encoding = p.unseal_all(p.read_payloads(leaf))
        return {field: p.join(values), "encoding": encoding} if values else {}

    return Entry(fields=(field, "encoding"), place=(camel(field),), write=write, read=read)


def single(field: str) -> Entry:
    """One value without an encoding beside it."""

    def write(raw: Raw) -> object:
        return None if raw == NULL else p.Payloads((p.seal_single(raw),))

    def read(leaf: Raw) -> Raw:
        values = [p.unseal_single(one) for one in p.read_payloads(leaf)]
        return values[0] if len(values) == 1 else p.join(values) if values else NULL

    return at(field, n.Notation(write, read))


def marker_details() -> Entry:
    """The object of a marker: a list of payloads for each name. Anything but an object stands under `data`."""

    def write(value: Any) -> object:  # noqa: ANN401 - every Struct of the tables
        if value.details == NULL:
            return None
        values = read_object(value.details) if bytes(value.details).startswith(b"{") else {"data": value.details}
        return {key: p.seal_all([one], value.encoding) for key, one in values.items()}

    def read(leaf: Raw) -> Mapping[str, Any]:
        lists = {key: p.read_payloads(one) for key, one in read_object(leaf).items()}
        values, encoding = p.unseal_all([one for sealed in lists.values() for one in sealed])
        rest = iter(values)
        named = {key: [next(rest) for _ in sealed] for key, sealed in lists.items()}
        shown = {key: some[0] if len(some) == 1 else p.join(some) for key, some in named.items()}
        return {"details": Raw(encoder.encode(shown)), "encoding": encoding}

    return Entry(fields=("details", "encoding"), place=("details",), write=write, read=read)


def build_id(*older: str) -> list[Entry]:
    """Which build did it. Servers before 1.21 called it a checksum; where both stand, the newer name wins."""
    checksums = [
        Entry(
            fields=("build_id",), place=(name,), write=lambda _: None, read=lambda leaf: {"build_id": n.TEXT.read(leaf)}
        )
        for name in older
    ]
    return [*checksums, text("build_id", "workerVersion", "buildId")]
