"""The repository keeps its limits, and each limit can fail."""

import ast
import tomllib
from functools import cache

import pytest

from tests.tidy import python_rules, text_rules
from tests.tidy.source import NOT_CODE, PACKAGES, ROOT, ROOT_FOLDERS, Rule, Source, repository_files

files = cache(repository_files)


def findings(rule: Rule, path: str, text: str) -> int:
    return len(list(rule(Source(path, text))))


@pytest.mark.parametrize("rule", python_rules.PYTHON_RULES, ids=lambda rule: rule.__name__)
def test_python_is_tidy(rule: Rule) -> None:
    """Every Python file keeps the rule."""
    found = [str(f) for s in files() if s.path.endswith(".py") and s.path not in NOT_CODE for f in rule(s)]
    assert "" == "\n".join(found)


@pytest.mark.parametrize("rule", text_rules.TEXT_RULES, ids=lambda rule: rule.__name__)
def test_text_is_tidy(rule: Rule) -> None:
    """Every text file keeps the rule."""
    found = [str(finding) for source in files() for finding in rule(source)]
    assert "" == "\n".join(found)


def test_root_folders_have_a_readme() -> None:
    """Every folder at the top says what it is."""
    assert [] == text_rules.missing_readmes(files())


def test_exemptions_are_needed() -> None:
    """An entry in the list of long signatures goes when its function no longer needs it."""
    for (path, name), reason in python_rules.MANY_PARAMETERS.items():
        assert reason
        if (ROOT / path).exists():
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            assert name in {found for found, _, _ in python_rules.functions(tree)}


def test_contracts_name_whole_packages() -> None:
    """A contract that was written before its package says the package's name once there is one."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    names = {n for c in contracts for n in (*c.get("source_modules", ()), *c.get("protected_modules", ()))}
    early = {name.removesuffix(".**") for name in names if name.endswith(".**")}
    modules = {package.rpartition("/")[2]: package for package in PACKAGES}
    paths = {
        name: ROOT / name.replace(root := name.partition(".")[0], modules[root], 1).replace(".", "/") for name in early
    }
    present = {name for name, path in paths.items() if path.is_dir() or path.with_suffix(".py").exists()}
    assert set() == present, "in [tool.importlinter], say the name without .**"


def body(lines: int) -> str:
    return "def f():\n" + "    x = 1\n" * (lines - 1)


def branches(count: int) -> str:
    return "if a == 0: pass\n" + "".join(f"elif a == {n}: pass\n" for n in range(1, count)) + "else: pass\n"


CODE = "server/perdure_server/engine.py"
TEST = "tests/unit/test_x.py"
STORE = "server/perdure_server/store/read.sql"
HOME = "/" + "home/ada/x"

BAD: list[tuple[Rule, str, str]] = [
    (python_rules.file_length, CODE, "x = 1\n" * 601),
    (python_rules.function_length, CODE, body(71)),
    (python_rules.parameter_count, CODE, "def f(a, b, c, d, e, g): ..."),
    (python_rules.parameter_count, CODE, "class A:\n    async def f(self, a, b, c, *, d, e, g): ..."),
    (python_rules.module_name, "server/perdure_server/utils.py", ""),
    (python_rules.module_name, "tests/unit/time_helpers.py", ""),
    (python_rules.module_name, "sdk/perdure/common/codec.py", ""),
    (python_rules.ladder, CODE, branches(7)),
    (python_rules.sql_text, CODE, "q = 'select a from b where c'"),
    (python_rules.sql_text, CODE, "q = f'insert into {table} values ($1)'"),
    (python_rules.sql_text, CODE, "q = 'begin; update t set a = 1'"),
    (python_rules.sql_text, CODE, "q = '''\n  with a as (select 1) table a'''"),
    (python_rules.sql_text, CODE, "q = 'create database x'"),
    (python_rules.sql_text, "server/perdure_server/embedded.py", "q = 'create table x (a int)'"),
    (python_rules.test_docstring, TEST, "def test_a(): pass"),
    (python_rules.test_docstring, TEST, "def test_a():\n    'It holds. It holds well.'"),
    (python_rules.test_docstring, TEST, "class TestA:\n    async def test_a(self):\n        'No full stop'"),
    (python_rules.sleep, TEST, "import time\ntime.sleep(0)"),
    (python_rules.sleep, TEST, "async def f():\n    await asyncio.sleep(0.1)"),
    (python_rules.sleep, TEST, "from asyncio import sleep as nap\nnap(1)"),
    (python_rules.swallowed_error, CODE, "try: f()\nexcept Exception: pass"),
    (python_rules.swallowed_error, CODE, "try: f()\nexcept: ..."),
    (python_rules.swallowed_error, CODE, "try: f()\nexcept (ValueError, BaseException):\n    'why'"),
    (python_rules.swallowed_error, CODE, "with contextlib.suppress(Exception): f()"),
    (python_rules.module_docstring, CODE, "x = 1"),
    (python_rules.module_docstring, "sdk/perdure/__init__.py", ""),
    (text_rules.query_name, STORE, "select 1;\n"),
    (text_rules.query_name, STORE, "-- name: read_a\nselect 1;\nselect 2;\n"),
    (text_rules.query_name, STORE, "-- name: ReadA\nselect 1;\n"),
    (text_rules.query_name, STORE, "-- name: read_a\nselect 1;\n-- name: read_a\nselect 2;\n"),
    (text_rules.sql_case, "migrations/0001_start.sql", "CREATE table a (b int);"),
    (text_rules.fragment_name, "docs/changes/Something.md", ""),
    (text_rules.machine_path, "README.md", f"see {HOME}"),
    (text_rules.machine_path, "README.md", "see C:" + "\\Users\\ada"),
]

GOOD: list[tuple[Rule, str, str]] = [
    (python_rules.file_length, CODE, "x = 1\n" * 600),
    (python_rules.function_length, CODE, body(70)),
    (python_rules.parameter_count, CODE, "class A:\n    def f(self, a, b, c, d, e, *args, **kwargs): ..."),
    (python_rules.parameter_count, CODE, "@overload\ndef f(a, b, c, d, e, g): ..."),
    (python_rules.parameter_count, CODE, "@workflows.command()\n@click.option('-a')\ndef f(a, b, c, d, e, g): ..."),
    (
        python_rules.parameter_count,
        "worker/perdure_worker/worker.py",
        "class Worker:\n    def __init__(a,b,c,d,e,f): ...",
    ),
    (python_rules.module_name, "server/perdure_server/database.py", ""),
    (python_rules.ladder, CODE, branches(6)),
    (python_rules.ladder, CODE, "if a: pass\nelse:\n    " + branches(6).replace("\n", "\n    ")),
    (python_rules.sql_text, CODE, "'''select a from b'''\nx = 'choose one, select another from the list'"),
    (python_rules.sql_text, "server/perdure_server/visibility/sql.py", "q = 'select a from b'"),
    (python_rules.sql_text, "server/perdure_server/embedded.py", "q = 'create database perdure'"),
    (python_rules.sql_text, TEST, "q = 'select a from b'"),
    (python_rules.test_docstring, TEST, "def test_a():\n    'It holds at 1.5 times the rate.'"),
    (python_rules.sleep, TEST, "async def f():\n    await asyncio.sleep(0)"),
    (python_rules.sleep, TEST, "@workflow.defn\nasync def f():\n    async def g():\n        await asyncio.sleep(9)"),
    (python_rules.sleep, TEST, "@activity.defn(name='a')\ndef f():\n    time.sleep(9)"),
    (python_rules.sleep, TEST, "async def f():\n    await asyncio.sleep(9)  # virtual time"),
    (python_rules.sleep, "tests/programs/sleepy.py", "time.sleep(9)"),
    (python_rules.swallowed_error, CODE, "try: f()\nexcept KeyError: pass"),
    (python_rules.swallowed_error, CODE, "try: f()\nexcept Exception: log(1)"),
    (python_rules.module_docstring, "tests/unit/__init__.py", ""),
    (
        text_rules.query_name,
        STORE,
        "-- how it works\n\n-- name: read_a\nselect ';'\n  from b; -- why\n\n-- name: read_b\nselect 2",
    ),
    (text_rules.sql_case, STORE, "select 'SELECT'; -- FROM"),
    (text_rules.fragment_name, "docs/changes/fair-queues.added.md", ""),
    (text_rules.machine_path, "README.md", "https://example.org/home/ada and ./work/x and framework/x"),
]


def case_name(case: object) -> str:
    return getattr(case, "__name__", "")


@pytest.mark.parametrize(("rule", "path", "text"), BAD, ids=case_name)
def test_each_rule_can_fail(rule: Rule, path: str, text: str) -> None:
    """A violation is found, once."""
    assert 1 == findings(rule, path, text)


@pytest.mark.parametrize(("rule", "path", "text"), GOOD, ids=case_name)
def test_each_rule_lets_good_code_pass(rule: Rule, path: str, text: str) -> None:
    """What only looks like a violation is let pass."""
    assert 0 == findings(rule, path, text)


def test_every_rule_has_a_bad_case() -> None:
    """No rule is without a snippet that it refuses."""
    assert set() == {*python_rules.PYTHON_RULES, *text_rules.TEXT_RULES} - {rule for rule, _, _ in BAD}


def test_a_missing_readme_is_found() -> None:
    """A root folder whose page is absent or empty is named."""
    sources = [Source(f"{folder}/README.md", "It is.") for folder in ROOT_FOLDERS[1:]]
    assert [ROOT_FOLDERS[0]] == text_rules.missing_readmes([*sources, Source(f"{ROOT_FOLDERS[0]}/README.md", "\n")])
