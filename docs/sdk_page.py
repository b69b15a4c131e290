"""The reference of what users import: every public name with its signature and its docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from source_tree import (
    Definition,
    Found,
    Function,
    doc_of,
    find,
    flat,
    is_overload,
    is_property,
    names_of,
    public_names,
    signature,
    targets_of,
    tree_of,
)

MODULES = (
    "perdure",
    "perdure.workflow",
    "perdure.activity",
    "perdure.client",
    "perdure.exceptions",
    "perdure.metrics",
    "perdure.contrib.opentelemetry",
    "perdure_worker",
)
LINE_MAX = 100

INTRO = "Every name that is public, with its docstring. A name that several modules offer is described once."


def sdk_page() -> str:
    """The whole page."""
    seen: set[tuple[str, str]] = set()
    parts = ["# The SDK", INTRO, "\n".join(f"- [`{module}`](#{anchor(module)})" for module in MODULES)]
    for module in MODULES:
        parts += [f"## `{module}`", text_of(ast.get_docstring(tree_of(module)) or "")]
        for name in public_names(module):
            parts += entry(module, name, seen)
    return "\n\n".join(part for part in parts if part)


def anchor(heading: str) -> str:
    """The anchor that Markdown viewers give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def entry(module: str, name: str, seen: set[tuple[str, str]]) -> Iterator[str]:
    """One public name."""
    found = find(module, name)
    if found is None or name == "__version__":
        return
    original = names_of(found.nodes[-1])[0]
    if (found.module, original) in seen:
        return
    seen.add((found.module, original))
    yield f"### `{module}.{name}`"
    yield from described(found, name)


def described(found: Found, name: str) -> Iterator[str]:
    """A function, a class, or a value."""
    match found.nodes[-1]:
        case ast.ClassDef() as node:
            yield from class_entry(found, node)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield heads(found.nodes, name)
            yield text_of(found.doc)
        case node:
            yield code(ast.unparse(node))
            yield text_of(found.doc)


def class_entry(found: Found, node: ast.ClassDef) -> Iterator[str]:
    """A class: how it is made, what it says, its fields, its members."""
    bases = [ast.unparse(base) for base in node.bases]
    yield code(f"class {node.name}({', '.join(bases)})" if bases else f"class {node.name}")
    constructor = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    if constructor and "Args:" in found.doc:
        yield heads(constructor, node.name).replace("def ", "").replace(" -> None", "")
    yield text_of(found.doc)
    yield fields_table(node)
    for owner in (node, *private_bases(found.module, node)):
        yield from members(owner, node.name)


def private_bases(module: str, node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """The bases of ours whose members a class has; errors name theirs, which have an entry of their own."""
    for base in node.bases:
        name = ast.unparse(base).partition("[")[0]
        found = find(module, name) if name.isidentifier() else None
        if found is None or name.endswith("Error"):
            continue
        if isinstance(found.nodes[-1], ast.ClassDef):
            yield found.nodes[-1]


def fields_table(node: ast.ClassDef) -> str:
    """The fields of a Struct or a TypedDict."""
    rows = []
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and not targets_of(field)[0].startswith("_"):
            default = f"`{ast.unparse(field.value)}`" if field.value is not None else ""
            kind = ast.unparse(field.annotation).replace("|", "\\|")
            rows.append(f"| `{targets_of(field)[0]}` | `{kind}` | {default} | {one_line(doc_of(node.body, [field]))} |")
        elif isinstance(field, ast.Assign) and not targets_of(field)[0].startswith("_"):
            rows.append(f"| `{targets_of(field)[0]}` | | `{ast.unparse(field.value)}` | |")
    return "\n".join(["| field | type | default | |", "|---|---|---|---|", *rows]) if rows else ""


def members(node: ast.ClassDef, owner: str) -> Iterator[str]:
    """The public methods and properties that say something; `owner` is the class that a user has."""
    by_name: dict[str, list[Function]] = {}
    for member in flat(node.body):
        if isinstance(member, Function):
            by_name.setdefault(member.name, []).append(member)
    for name, nodes in by_name.items():
        doc = doc_of(node.body, nodes)
        if not doc or (name.startswith("_") and name != "__call__"):
            continue
        yield f"#### `{owner}.{name}`"
        yield property_head(nodes[-1]) if is_property(nodes[-1]) else heads(nodes, name)
        yield text_of(doc)


def property_head(node: Function) -> str:
    """A property reads like a variable."""
    return code(f"{node.name}: {ast.unparse(node.returns)}" if node.returns else node.name)


def heads(nodes: Sequence[Definition], name: str) -> str:
    """The signatures of a function: its overloads where it has any."""
    functions = [node for node in nodes if isinstance(node, Function)]
    shown = [node for node in functions if is_overload(node)] or functions
    return code("\n".join(broken(signature(node, name)) for node in shown))


def broken(head: str) -> str:
    """A long signature with one parameter a line."""
    if len(head) <= LINE_MAX:
        return head
    start, end = head.index("(") + 1, closing(head)
    return head[:start] + "\n    " + ",\n    ".join(split(head[start:end])) + ",\n" + head[end:]


def closing(head: str) -> int:
    """Where the parameters end."""
    depth = 0
    for index, sign in enumerate(head):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and sign == ")":
            return index
    return len(head)


def split(parameters: str) -> list[str]:
    """Parameters apart, brackets respected."""
    depth, found = 0, [""]
    for sign in parameters:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            found.append("")
        else:
            found[-1] += sign
    return [one.strip() for one in found]


def code(text: str) -> str:
    """A block that is not an example."""
    return f"```text\n{text}\n```"


def one_line(text: str) -> str:
    """Text for a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def text_of(doc: str) -> str:
    """A docstring as Markdown."""
    lines: list[str] = []
    section = ""
    for line in doc.splitlines():
        if line in {"Args:", "Example:"}:
            section = line
            lines += [f"**{line.rstrip(':')}**", ""]
        elif section == "Example:" and not line.startswith(" ") and line:
            section = ""
            lines.append(line)
        elif section == "Args:" and line:
            section, shown = argument(line)
            lines.append(shown)
        elif section == "Example:":
            lines.append(line.removeprefix("    "))
        else:
            lines.append(line)
    return fenced("\n".join(lines))


def argument(line: str) -> tuple[str, str]:
    """A line of `Args:`: an item, its continuation, or the end of the section."""
    if re.match(r" {4}\w+: ", line):
        name, _, rest = line.strip().partition(": ")
        return "Args:", f"- `{name}`: {rest}"
    return ("Args:", f"  {line.strip()}") if line.startswith("     ") else ("", line)


def fenced(text: str) -> str:
    """Doctests and indented programs as blocks."""
    shown: list[str] = []
    kind = ""
    for line in text.splitlines():
        starts = "pycon" if line.startswith(">>> ") else "text" if line.startswith("    ") and not kind else ""
        if not kind and starts:
            kind = starts
            shown.append(f"```{kind}")
        elif kind and (not line if kind == "pycon" else line and not line.startswith("    ")):
            shown.append("```")
            kind = ""
        shown.append(line.removeprefix("    ") if kind == "text" else line)
    return "\n".join([*shown, *(["```"] if kind else [])]).strip()
