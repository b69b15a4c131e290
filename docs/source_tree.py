"""The code as the reference reads it: syntax trees, so that a page is the same under every version of Python.

It finds a name through imports, and the docstring of anything, also the string below an assignment. It runs nothing.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOTS = ("sdk", "worker", "proto", "server")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Found:
    """What a name stands for: its definitions (several where it is overloaded), in which module, and its docstring."""

    module: str
    nodes: tuple[Definition, ...]
    doc: str


@cache
def tree_of(module: str) -> ast.Module:
    """The syntax tree of one of our modules."""
    relative = module.replace(".", "/")
    for root in ROOTS:
        for path in (ROOT / root / f"{relative}.py", ROOT / root / relative / "__init__.py"):
            if path.is_file():
                return ast.parse(path.read_text(encoding="utf-8"))
    raise LookupError(module)


def is_ours(module: str) -> bool:
    """Whether a module is one of the four packages'."""
    return module.partition(".")[0] in {"perdure", "perdure_worker", "perdure_proto", "perdure_server"}


def public_names(module: str) -> list[str]:
    """`__all__` of a module."""
    for node in tree_of(module).body:
        if isinstance(node, ast.Assign) and targets_of(node) == ["__all__"]:
            return list(ast.literal_eval(node.value))
    raise LookupError(f"{module} has no __all__")


def find(module: str, name: str) -> Found | None:
    """Where a name comes from; None where that is not our code."""
    body = tree_of(module).body
    if nodes := definitions(body, name):
        return Found(module, tuple(nodes), doc_of(body, nodes))
    for node in body:
        # A package that imports its own modules (`from perdure import activity`) names modules, not definitions.
        if isinstance(node, ast.ImportFrom) and node.module and node.module != module and is_ours(node.module):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(node.module, alias.name)
    return None


def definitions(body: Sequence[ast.stmt], name: str) -> list[Definition]:
    """What a body defines under a name."""
    return [node for node in flat(body) if isinstance(node, Definition) and name in names_of(node)]


def flat(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body, those for type checkers included and their twins at run time left out."""
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from flat(node.body)
        else:
            yield node


def names_of(node: Definition) -> list[str]:
    """The names that a statement defines."""
    return targets_of(node) if isinstance(node, ast.Assign | ast.AnnAssign) else [node.name]


def targets_of(node: ast.Assign | ast.AnnAssign) -> list[str]:
    """The plain names that an assignment gives a value."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def doc_of(body: Sequence[ast.stmt], nodes: Sequence[Definition]) -> str:
    """The docstring of the last definition that has one; for an assignment the string below it."""
    for node in reversed(nodes):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            if text := string_below(body, node):
                return text
        elif text := ast.get_docstring(node):
            return text
    return ""


def string_below(body: Sequence[ast.stmt], node: ast.stmt) -> str:
    """The string that stands under a statement."""
    statements = list(flat(body))
    match statements[statements.index(node) + 1 : statements.index(node) + 2]:
        case [ast.Expr(value=ast.Constant(value=str(text)))]:
            return inspect.cleandoc(text)
        case _:
            return ""


def is_overload(node: Function) -> bool:
    """Whether a definition is one of several for type checkers."""
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)


def is_property(node: Function) -> bool:
    """Whether a method is read like an attribute."""
    return any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)


def signature(node: Function, name: str) -> str:
    """A function's head, without `self`."""
    text = ast.unparse(without_self(node.args))
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    keyword = "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    return f"{keyword}{name}({text}){result}"


def without_self(arguments: ast.arguments) -> ast.arguments:
    """The parameters that a caller gives."""
    given = [*arguments.posonlyargs, *arguments.args]
    if not given or given[0].arg not in {"self", "cls"}:
        return arguments
    positional = arguments.posonlyargs[1:] if arguments.posonlyargs else []
    plain = arguments.args if arguments.posonlyargs else arguments.args[1:]
    return ast.arguments(
        posonlyargs=positional,
        args=plain,
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=arguments.kw_defaults,
        kwarg=arguments.kwarg,
        defaults=arguments.defaults,
    )
