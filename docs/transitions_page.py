"""The transitions of server and worker, drawn from the tables that the code runs by."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from source_tree import doc_of, find

from perdure_server.history.decide import DECISIONS
from perdure_server.history.evolve import EVENTS, RECORDS
from perdure_server.history.transitions.check import CHECKS
from perdure_server.history.transitions.commands import COMMANDS
from perdure_worker.replay.machines import activity, child, external, marker, timer, update, upsert

MACHINES: tuple[tuple[str, Mapping[tuple[str, str], tuple[str, str]], str], ...] = (
    ("Activity", activity.TABLE, "created"),
    ("Child workflow", child.TABLE, "created"),
    ("External cancel", external.CANCEL_TABLE, "created"),
    ("External signal", external.SIGNAL_TABLE, "created"),
    ("Local activity", marker.TABLE, "pending"),
    ("Patch", marker.PATCH_TABLE, "created"),
    ("Timer", timer.TABLE, "created"),
    ("Update", update.TABLE, "admitted"),
    ("Upsert", upsert.TABLE, "created"),
)

INTRO = (
    "For whoever wants to know exactly what may follow what. The server changes the state of a run in two steps: "
    "`decide` looks at a request and the state and says which events to write, `evolve` applies events. The worker "
    "runs one small machine for each thing that a workflow began. All of them are tables; this page prints them."
)

FACTS = (
    "They change the state like events, live in memory or in rows of `activities` and `buffered_events`, and have no "
    "place in the history."
)
ARROWS = (
    "An arrow says what arrives, and after the slash what the machine asks for. What has no arrow cannot happen: the "
    "workflow task fails and says so."
)


def transitions_page() -> str:
    """The whole page."""
    parts = [
        "# Transitions",
        INTRO,
        "## Requests that the server decides",
        "Each comes from a client, a worker or a deadline, and is answered with events or with a refusal.",
        table(("request", "means", "decided by"), requests()),
        "## Commands of a workflow task",
        "They are all checked before the first is written: an answer is taken whole or not at all.",
        table(("command", "means", "writes"), commands()),
        "## Events that change the state of a run",
        "An event without an entry only moves the head of the history.",
        table(("event", "applied by"), applied(EVENTS)),
        "## Facts beside the log",
        FACTS,
        table(("fact", "means", "applied by"), facts()),
        "## Machines of the worker",
        ARROWS,
    ]
    for name, transitions, initial in MACHINES:
        parts += [f"### {name}", diagram(transitions, initial)]
    return "\n\n".join(parts)


def requests() -> Iterator[tuple[str, ...]]:
    for request, decider in DECISIONS.items():
        yield f"`{request.__name__}`", meaning(request), f"`{place(decider)}`"


def commands() -> Iterator[tuple[str, ...]]:
    for command in CHECKS:
        writes = COMMANDS.get(command)
        yield (
            f"`{command.__name__}`",
            meaning(command),
            written_by(writes) if writes else "not in this version: refused",
        )


def written_by(function: Callable[..., Any]) -> str:
    """The events that a function names, or what else it does."""
    found = find(function.__module__, function.__name__)
    assert found is not None
    named = [
        node.attr
        for node in ast.walk(found.nodes[-1])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ev"
    ]
    ignored = {"WorkflowExecutionStarted", "TimerFired"}  # looked at, not written
    events = [name for name in dict.fromkeys(named) if name not in ignored]
    if function.__name__ == "_request_cancel_activity":
        events = ["ActivityTaskCancelRequested"]
    return ", ".join(f"`{name}`" for name in events) or "nothing: only the caller is told"


def applied(entries: Mapping[Any, Callable[..., Any]]) -> Iterator[tuple[str, ...]]:
    for event, apply in entries.items():
        link = f"[`{event.__name__}`](events.md#{event.__name__.lower()})"
        name = apply.__qualname__.partition(".")[0]
        yield link, f"`evolve.{name}`"


def facts() -> Iterator[tuple[str, ...]]:
    for fact, apply in RECORDS.items():
        yield f"`{fact.__name__}`", meaning(fact), f"`evolve.{apply.__name__}`"


def meaning(kind: type) -> str:
    """The docstring of a class, as a cell."""
    found = find(kind.__module__, kind.__name__)
    assert found is not None
    node = found.nodes[-1]
    assert isinstance(node, ast.ClassDef)
    return " ".join(doc_of([node], [node]).split()).replace("|", "\\|")


def place(function: Callable[..., Any]) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def diagram(transitions: Mapping[tuple[str, str], tuple[str, str]], initial: str) -> str:
    """A state diagram; inputs that go the same way share an arrow."""
    arrows: dict[tuple[str, str, str], list[str]] = {}
    for (state, given), (after, action) in transitions.items():
        arrows.setdefault((state, after, action), []).append(given)
    lines = ["stateDiagram-v2", f"    [*] --> {initial}"]
    for (state, after, action), inputs in arrows.items():
        asks = "" if action == "nothing" else f" / {action}"
        lines.append(f"    {state} --> {after}: {', '.join(inputs)}{asks}")
    return "```mermaid\n" + "\n".join(lines) + "\n```"
