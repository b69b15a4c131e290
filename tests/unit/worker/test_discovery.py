"""Discovery: names of files, definitions of a package, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure_worker.discovery import DiscoveryError, discover, import_name_of

FLOW = """
from perdure import activity, workflow

@workflow.defn
async def {name}() -> None: ...

@activity.defn
async def act_{name}() -> None: ...
"""


@pytest.fixture(autouse=True)
def forget_modules() -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_file_gives_its_definitions(tmp_path: Path) -> None:
    """Workflows and activities of a file are found."""
    found = discover([str(write(tmp_path / "lone_flow.py", FLOW.format(name="lone")))])
    assert ["lone", "act_lone"] == found.names()


def test_file_of_a_package_is_imported_under_its_whole_name(tmp_path: Path) -> None:
    """The name is what `import` would give, found by climbing the folders with an `__init__.py`."""
    write(tmp_path / "outer_app" / "__init__.py", "")
    write(tmp_path / "outer_app" / "inner" / "__init__.py", "")
    path = write(tmp_path / "outer_app" / "inner" / "flows.py", "")
    assert (tmp_path, "outer_app.inner.flows") == import_name_of(path)


def test_definitions_of_the_whole_package_are_taken(tmp_path: Path) -> None:
    """What the named module imports from its own package is there too."""
    write(tmp_path / "shop_app" / "__init__.py", "")
    write(tmp_path / "shop_app" / "orders.py", FLOW.format(name="orders"))
    flows = write(tmp_path / "shop_app" / "flows.py", "from shop_app import orders\n" + FLOW.format(name="shop"))
    assert {"orders", "act_orders", "shop", "act_shop"} == set(discover([str(flows)]).names())


def test_definitions_of_other_packages_are_left_out(tmp_path: Path) -> None:
    """A module of another package is not searched."""
    write(tmp_path / "other_lib.py", FLOW.format(name="other"))
    flows = write(tmp_path / "main_flow.py", "import other_lib\n" + FLOW.format(name="main"))
    assert ["main", "act_main"] == discover([str(flows)]).names()


def test_module_is_imported_once(tmp_path: Path) -> None:
    """A file named twice, once through another module, is one module with one definition."""
    write(tmp_path / "twice_app" / "__init__.py", "")
    flows = write(tmp_path / "twice_app" / "flows.py", FLOW.format(name="twice"))
    assert ["twice", "act_twice"] == discover([str(flows), "twice_app.flows"]).names()


def test_object_alone_is_taken(tmp_path: Path) -> None:
    """After a colon one definition, or a list of them, is named."""
    text = FLOW.format(name="chosen") + "both = [chosen, act_chosen]\n"
    flows = str(write(tmp_path / "chosen_flow.py", text))
    assert ["chosen"] == discover([f"{flows}:chosen"]).names()
    assert ["chosen", "act_chosen"] == discover([f"{flows}:both"]).names()


def test_two_definitions_of_one_name_are_refused(tmp_path: Path) -> None:
    """The error names both places."""
    first = write(tmp_path / "first_flow.py", FLOW.format(name="same"))
    second = write(tmp_path / "second_flow.py", FLOW.format(name="same"))
    with pytest.raises(DiscoveryError, match=r"'same'.*first_flow.*second_flow"):
        discover([str(first), str(second)])


def test_file_that_hides_the_standard_library_is_refused(tmp_path: Path) -> None:
    """A file called `random.py` would break whoever imports random."""
    with pytest.raises(DiscoveryError, match="standard library"):
        discover([str(write(tmp_path / "random.py", FLOW.format(name="dice")))])


def test_file_whose_name_belongs_to_another_module_is_refused(tmp_path: Path) -> None:
    """A name that is taken by what is imported already would give the wrong module."""
    with pytest.raises(DiscoveryError, match="belongs to"):
        discover([str(write(tmp_path / "msgspec.py", FLOW.format(name="dice")))])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_file.py", "no file"),
        ("no_such_module", "no module"),
        ("json:nothing", "has no 'nothing'"),
        ("json:dumps", "not a workflow"),
        ("json", "no workflow and no activity"),
    ],
)
def test_target_without_definitions_says_why(target: str, message: str) -> None:
    """Each way of naming nothing has its own message."""
    with pytest.raises(DiscoveryError, match=message):
        discover([target])


def test_error_inside_a_module_is_raised_as_it_is(tmp_path: Path) -> None:
    """A module that imports what is not there shows its own error."""
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        discover([str(write(tmp_path / "faulty_flow.py", "import not_there\n"))])


def test_file_that_is_no_python_name_is_refused(tmp_path: Path) -> None:
    """A file that `import` could not name is refused by its name."""
    with pytest.raises(DiscoveryError, match="not a Python name"):
        discover([str(write(tmp_path / "my-flow.py", ""))])
