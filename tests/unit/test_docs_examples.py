"""Every Python block of every page compiles; a complete one is imported, and a worker takes what it declares."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from perdure.activity import Activity
from perdure.workflow import Workflow
from perdure_worker.registry import Registry
from tests.documents import Block, example_of, python_blocks

BLOCKS = python_blocks()
SHOWN = [block for block in BLOCKS if example_of(block)]
COMPLETE = [block for block in BLOCKS if not example_of(block)]


@pytest.fixture
def imported(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModuleType]:
    """A block as a module."""
    block: Block = request.param
    name = f"block_{block.line}_{abs(hash(block.path))}"
    path = tmp_path / f"{name}.py"
    path.write_text(block.text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[name]


def test_there_are_blocks() -> None:
    """Pages have both kinds: parts of examples, and complete programs."""
    assert SHOWN
    assert COMPLETE


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_compiles(block: Block) -> None:
    """What a page calls Python is Python."""
    assert ast.parse(block.text).body


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_a_page_shows_the_example_as_it_is(block: Block) -> None:
    """A block that begins with the name of an example is a part of that file, word for word."""
    found = example_of(block)
    assert found is not None
    path, shown = found
    assert shown in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("imported", COMPLETE, ids=str, indirect=True)
def test_a_worker_takes_what_a_block_declares(imported: ModuleType) -> None:
    """A complete block imports, and its workflows and activities pass registration."""
    declared = list(vars(imported).values())
    workflows = [one for one in declared if isinstance(one, Workflow)]
    activities = [one for one in declared if isinstance(one, Activity)]
    if workflows or activities:
        registry = Registry(workflows, activities)
        assert len(workflows) == len(registry.workflows.by_name) + (registry.workflows.dynamic is not None)
        assert len(activities) == len(registry.activities.by_name) + (registry.activities.dynamic is not None)


@pytest.mark.parametrize("imported", [b for b in COMPLETE if "def test_greet(" in b.text], ids=str, indirect=True)
def test_the_tests_that_a_page_shows_pass(imported: ModuleType) -> None:
    """Activities are functions, as the page on tests says."""
    imported.test_greet()
    imported.test_double()
