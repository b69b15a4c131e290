"""Rules on Python files: limits on size, names that say nothing, and habits that hide errors.

A rule takes a `Source` and yields findings. It knows nothing of other files.
"""

import ast
import re
from collections.abc import Iterator

from tests.tidy.source import PACKAGES, Finding, Rule, Source

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 5
LADDER_BRANCHES_MAX = 6

EMPTY_NAMES = frozenset({"base", "common", "helper", "helpers", "impl", "manager", "managers", "util", "utils"})

# Public functions whose parameters are the contract with users, each with its reason.
MANY_PARAMETERS: dict[tuple[str, str], str] = {
    (
        "worker/perdure_worker/worker.py",
        "Worker.__init__",
    ): "Temporal's worker options, keyword-only, read at one glance",
    ("sdk/perdure/client.py", "Client.connect"): "Temporal's connection options, keyword-only",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[tuple[str, Function, tuple[Function, ...]]]:
    """Each function with its dotted name and the functions around it, outermost first."""

    def walk(
        node: ast.AST, names: tuple[str, ...], around: tuple[Function, ...]
    ) -> Iterator[tuple[str, Function, tuple[Function, ...]]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                yield ".".join((*names, child.name)), child, around
                yield from walk(child, (*names, child.name), (*around, child))
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, (*names, child.name), around)
            else:
                yield from walk(child, names, around)

    return walk(tree, (), ())


def dotted(node: ast.expr) -> str:
    """The dotted name of an expression or of what it calls; empty for anything else."""
    if isinstance(node, ast.Call):
        return dotted(node.func)
    if isinstance(node, ast.Attribute):
        prefix = dotted(node.value)
        return f"{prefix}.{node.attr}" if prefix else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def decorators(function: Function) -> list[str]:
    return [dotted(decorator) for decorator in function.decorator_list]


def file_length(source: Source) -> Iterator[Finding]:
    """A file has a size that a reader can hold."""
    if len(source.lines) > FILE_LINES_MAX:
        yield source.at(len(source.lines), f"{len(source.lines)} lines, {FILE_LINES_MAX} allowed: split by a noun")


def function_length(source: Source) -> Iterator[Finding]:
    """A function fits on a screen."""
    for name, function, _ in functions(source.tree):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield source.at(function.lineno, f"{name} has {lines} lines, {FUNCTION_LINES_MAX} allowed")


def parameter_count(source: Source) -> Iterator[Finding]:
    """More than a handful of parameters is a Struct of options."""
    for name, function, _ in functions(source.tree):
        arguments = function.args
        named = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        count = len(named) - (named[:1] in (["self"], ["cls"]))
        if count <= PARAMETERS_MAX or (source.path, name) in MANY_PARAMETERS:
            continue
        if any(is_overload(d) or is_click(d) for d in decorators(function)):
            continue
        yield source.at(function.lineno, f"{name} has {count} parameters, {PARAMETERS_MAX} allowed: make a Struct")


def is_overload(decorator: str) -> bool:
    return decorator.rpartition(".")[2] == "overload"


def is_click(decorator: str) -> bool:
    """Click passes each option of a command as a parameter of its own."""
    return decorator.startswith("click.") or decorator.rpartition(".")[2] in {"command", "group", "option", "argument"}


def module_name(source: Source) -> Iterator[Finding]:
    """A module or folder is named after what it owns."""
    for part in source.path.removesuffix(".py").split("/"):
        for word in EMPTY_NAMES.intersection(part.lower().split("_")):
            yield source.at(1, f"'{word}' in a module's name says nothing: name what it owns")


def ladder(source: Source) -> Iterator[Finding]:
    """A long choice is a table or a match, not a ladder."""
    rungs: set[ast.If] = set()
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.If) or node in rungs:
            continue
        branches, rung = 1, node
        while len(rung.orelse) == 1 and isinstance(below := rung.orelse[0], ast.If):
            if below.col_offset != rung.col_offset:
                break  # an if inside the else, not an elif
            rungs.add(below)
            branches, rung = branches + 1, below
        if branches > LADDER_BRANCHES_MAX:
            yield source.at(node.lineno, f"a ladder of {branches} branches, {LADDER_BRANCHES_MAX} allowed: use a table")


SQL = re.compile(
    r"""(?:^|;|\()\s*(?:
        select\s+(?:.*\sfrom\s|\d|pg_|\w+\()
      | insert\s+into\s
      | update\s+\S+\s+set\s
      | delete\s+from\s
      | with\s+\w+\s+as\s+(?:not\s+materialized\s+|materialized\s+)?\(
      | (?:create|alter|drop)\s+(?:or\s+replace\s+|unlogged\s+|unique\s+)*
        (?:table|index|view|function|schema|database|role|type|extension)\s
      | truncate\s+\w+
    )""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def sql_text(source: Source) -> Iterator[Finding]:
    """SQL lives in .sql files.

    Only the packages are held to it: tests and examples speak SQL as an operator or a user would.
    """
    if not source.within(*PACKAGES) or source.within("server/perdure_server/visibility/sql", FILTER_MODULE):
        return
    prose = {id(text) for text in docstrings(source.tree)}
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in prose:
            continue
        if makes_embedded_database(source, node.value):
            continue
        if SQL.search(node.value):
            yield source.at(node.lineno, "SQL text: it belongs into a .sql file under a name")


FILTER_MODULE = "server/perdure_server/visibility/sql.py"
EMBEDDED = ("server/perdure_server/embedded", "server/perdure_server/embedded.py")


def makes_embedded_database(source: Source, text: str) -> bool:
    """`create database` takes no parameters and runs before there is a store."""
    return source.within(*EMBEDDED) and text.lstrip().lower().startswith("create database")


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            match node.body[:1]:
                case [ast.Expr(value=ast.Constant(value=str()) as text)]:
                    yield text
                case _:
                    pass


def test_docstring(source: Source) -> Iterator[Finding]:
    """A test states its one behaviour in one sentence."""
    if not source.within("tests"):
        return
    for name, function, around in functions(source.tree):
        if around or not function.name.startswith("test_") or not source.name.startswith("test_"):
            continue
        text = ast.get_docstring(function)
        if text is None:
            yield source.at(function.lineno, f"{name} has no docstring")
        elif not is_one_sentence(text):
            yield source.at(function.lineno, f"the docstring of {name} is not one sentence")


def is_one_sentence(text: str) -> bool:
    return text.rstrip().endswith(".") and re.search(r"[.!?]\s+[A-Z]", text) is None


SLEEPS_ALLOWED = ("tests/programs", "tests/wire", "tests/benchmarks", "tests/faults", "tests/simulation")
SLEEP_MARK = "# virtual time"


def sleep(source: Source) -> Iterator[Finding]:
    """A test waits for a signal or moves a clock; workflow programs may sleep, on workflow time.

    Benchmarks and the fault suite are not tests: how long they load a server is what they are about. The simulation's
    time is all virtual.
    """
    if not source.within("tests") or source.within(*SLEEPS_ALLOWED):
        return
    allowed = {
        id(node)
        for _, function, _ in functions(source.tree)
        if {"workflow.defn", "activity.defn"}.intersection(decorators(function))
        for node in ast.walk(function)
    }
    from_modules = {
        name.asname or name.name: f"{node.module}.{name.name}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or id(node) in allowed or SLEEP_MARK in source.lines[node.lineno - 1]:
            continue
        called = dotted(node.func)
        called = from_modules.get(called, called)
        if called == "time.sleep" or (called in {"asyncio.sleep", "anyio.sleep"} and not yields_only(node)):
            yield source.at(node.lineno, f"{called} in a test: wait for a signal or move a clock")


def yields_only(call: ast.Call) -> bool:
    """Whether the call is `sleep(0)`, which lets others run and waits for nothing."""
    match call.args:
        case [ast.Constant(value=0)]:
            return True
        case _:
            return False


WIDE = frozenset({"", "Exception", "BaseException"})


def swallowed_error(source: Source) -> Iterator[Finding]:
    """An error that nobody names is not dropped in silence."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and all(map(does_nothing, node.body)):
            yield source.at(node.lineno, "every error is dropped in silence: name the one that may be")
        if isinstance(node, ast.Call) and suppresses_all(node):
            yield source.at(node.lineno, "every error is suppressed: name the one that may be")


def catches_all(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(dotted(one) in WIDE for one in caught)


def suppresses_all(call: ast.Call) -> bool:
    return dotted(call.func) in {"suppress", "contextlib.suppress"} and any(dotted(a) in WIDE for a in call.args)


def does_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass | ast.Continue):
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def module_docstring(source: Source) -> Iterator[Finding]:
    """A module opens with what it owns; only an empty `__init__` of tests and examples owns nothing."""
    if source.name == "__init__.py" and not source.text.strip() and source.within("tests", "docs"):
        return
    if ast.get_docstring(source.tree) is None:
        yield source.at(1, "the module does not open with what it owns")


PYTHON_RULES: tuple[Rule, ...] = (
    file_length,
    function_length,
    parameter_count,
    module_name,
    ladder,
    sql_text,
    test_docstring,
    sleep,
    swallowed_error,
    module_docstring,
)
