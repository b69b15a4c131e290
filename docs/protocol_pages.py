"""The reference of what crosses the wire and lands in the log: error codes and event types."""

from __future__ import annotations

import ast
import re

from sdk_page import fields_table, one_line
from source_tree import ROOT, doc_of, find, tree_of

from perdure_proto.errors import RETRYABLE, STATUS, Code
from perdure_proto.events import CLOSING_EVENTS, EVENT_TYPES

ERRORS_INTRO = (
    'An error is answered with a fitting HTTP status and the body `{"code": …, "message": …, "details": …}`. The '
    "message says what was wrong and what to do; the code never changes its meaning. In Python it is `RPCError.code`; "
    "the command line prints it before the message. *Repeated* are the codes after which clients and workers repeat "
    "the request by themselves, with the same request id, until their `rpc_timeout` (30 s)."
)

EVENTS_INTRO = (
    "A history is a list of events with ids 1, 2, 3 … and times that never go backwards. Names, numbers and "
    "attributes are Temporal's. In the log, over HTTP and in `perdure workflow show --output json` an event is one "
    "flat JSON object: `event_type`, `event_id`, `event_time` and the attributes; what has its default is left out. "
    "Times are RFC 3339, durations ISO 8601. `History.to_json()` writes Temporal's own JSON format."
)


def errors_page() -> str:
    """Every code with status, meaning and remedy."""
    body = class_body("perdure_proto.errors", "Code")
    meanings = {
        node.targets[0].id: doc_of(body, [node])
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    rows = [
        f"| `{code}` | {STATUS[code]} | {'yes' if code in RETRYABLE else ''} | {one_line(meanings[code])} |"
        for code in Code
    ]
    table = "\n".join(["| code | status | repeated | what it means, what to do |", "|---|---|---|---|", *rows])
    return f"# Error codes\n\n{ERRORS_INTRO}\n\n{table}\n"


def class_body(module: str, name: str) -> list[ast.stmt]:
    """The statements of a class."""
    for node in tree_of(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node.body
    raise LookupError(f"{module}.{name}")


def events_page() -> str:
    """Every event type with its attributes, and whether this version writes it."""
    written = written_events()
    closing = {event.__name__ for event in CLOSING_EVENTS}
    listed = sorted(EVENT_TYPES.values(), key=lambda event: event.type_id)
    rows = [
        f"| {event.type_id} | [`{event.__name__}`](#{event.__name__.lower()}) | "
        f"{'yes' if event.__name__ in written else 'not yet'} | {'yes' if event.__name__ in closing else ''} |"
        for event in listed
    ]
    parts = [
        "# Event types",
        EVENTS_INTRO,
        "\n".join(["| number | event | written by this version | ends the run |", "|---|---|---|---|", *rows]),
    ]
    for event in listed:
        found = find(event.__module__, event.__name__)
        assert found is not None
        node = found.nodes[-1]
        assert isinstance(node, ast.ClassDef)
        attributes = [field for field in node.body if not is_class_variable(field)]
        shown = fields_table(ast.ClassDef(name=node.name, bases=[], keywords=[], body=attributes, decorator_list=[]))
        parts += [f"## {event.__name__}", found.doc, shown]
    return "\n\n".join(part for part in parts if part)


def is_class_variable(node: ast.stmt) -> bool:
    """Whether a statement is not a field."""
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation).startswith("ClassVar")


def written_events() -> set[str]:
    """The events that the core of the server names."""
    core = ROOT / "server" / "perdure_server" / "history"
    texts = [path.read_text(encoding="utf-8") for path in core.rglob("*.py")]
    return {name for text in texts for name in re.findall(r"\bev\.(\w+)", text)}
