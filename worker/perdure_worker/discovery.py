"""Finds workflows and activities: `module_or_file[:object]` becomes the definitions of a package.

A file is imported under the name that `import` would give it, found by climbing its folders as long as they hold an
`__init__.py`, so that a module is never there twice. A file that would hide a module of the standard library is
refused. Every definition of the package that the module belongs to is taken, as far as it has been imported; two of
one name are an error. Given an object, only that is taken: a definition, or a list of them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import Struct

from perdure._definition import Activity, Definition, Workflow
from perdure._runtime import current
from perdure_worker import guard
from perdure_worker.registry import place

AnyWorkflow = Workflow[..., Any]
AnyActivity = Activity[..., Any]


class DiscoveryError(Exception):
    """A target that cannot be imported, or in which there is nothing to run; the message says what to do."""


class Found(Struct, kw_only=True):
    """The definitions of one or several targets, in the order in which they were found."""

    workflows: list[AnyWorkflow] = []
    activities: list[AnyActivity] = []

    def names(self) -> list[str]:
        """All names, for messages."""
        return [*[one.name for one in self.workflows], *[one.name for one in self.activities]]


def discover(targets: Iterable[str]) -> Found:
    """The definitions of all targets. Raises `DiscoveryError`.

    The guard is installed first: it has to be there before user code takes names from what it patches.
    """
    guard.install(current)
    found = Found()
    for target in targets:
        for one in definitions_of(target):
            known: list[Any] = found.workflows if isinstance(one, Workflow) else found.activities
            add(known, one)
    if not found.names():
        raise DiscoveryError("no workflow and no activity found: declare one with @workflow.defn or @activity.defn")
    return found


def add(known: list[Any], one: AnyWorkflow | AnyActivity) -> None:
    """Adds what is not there yet. Raises `DiscoveryError` for another definition of the same name."""
    for other in known:
        if other.definition is one.definition:
            return
        if same_name(other.definition, one.definition):
            raise DiscoveryError(
                f"two definitions named {one.name!r}: {place(other.definition)} and {place(one.definition)}"
            )
    known.append(one)


def same_name(one: Definition, other: Definition) -> bool:
    """Whether a task could be meant for either."""
    return one.dynamic == other.dynamic and (one.dynamic or one.name == other.name)


def definitions_of(target: str) -> Iterator[AnyWorkflow | AnyActivity]:
    """The definitions of one target."""
    module_name, _, path_in_module = split(target)
    module = import_target(module_name)
    if path_in_module:
        yield from definitions_in(attribute(module, path_in_module), target)
        return
    for member in modules_of_package(module):
        for value in list(vars(member).values()):
            if isinstance(value, Workflow | Activity) and not is_unbound_method(value):
                yield value


def split(target: str) -> tuple[str, str, str]:
    """`module_or_file` and `object`; a drive letter is not an object.

    >>> split("app/flows.py:hello"), split("app.flows")
    (('app/flows.py', ':', 'hello'), ('app.flows', '', ''))
    """
    name, colon, rest = target.rpartition(":")
    if not colon or rest.startswith(("/", "\\")):
        return target, "", ""
    return name, colon, rest


def import_target(name: str) -> ModuleType:
    """Imports a module, or a file under the name that `import` would give it. Raises `DiscoveryError`."""
    path = Path(name)
    if path.suffix == ".py" or path.exists():
        return import_file(path)
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: modules of the working directory
    return import_module(name)


def import_file(path: Path) -> ModuleType:
    """Imports a file, or a package by its folder."""
    if not path.exists():
        raise DiscoveryError(f"there is no file {path}")
    root, name = import_name_of(path.resolve())
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        raise DiscoveryError(f"{path} would hide the module {top!r} of the standard library: rename it")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    module = import_module(name)
    imported = Path(getattr(module, "__file__", None) or "")
    if imported.resolve() not in {path.resolve(), path.resolve() / "__init__.py"}:
        raise DiscoveryError(f"{path} is imported as {name!r}, but that name belongs to {imported}: rename it")
    return module


def import_name_of(path: Path) -> tuple[Path, str]:
    """The folder to import from, and the dotted name, of a file or a package's folder."""
    if path.is_dir() and not (path / "__init__.py").exists():
        raise DiscoveryError(f"{path} is a folder without __init__.py: name a file in it")
    names = [] if path.name == "__init__.py" else [path.stem if path.is_file() else path.name]
    folder = path.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    for name in names:
        if not name.isidentifier():
            raise DiscoveryError(f"{path} cannot be imported: {name!r} is not a Python name")
    return folder, ".".join(names)


def import_module(name: str) -> ModuleType:
    """Imports a module; what is wrong inside of it is raised as it is."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise DiscoveryError(f"there is no module {name!r}, and no file of that name") from None


def modules_of_package(module: ModuleType) -> list[ModuleType]:
    """The modules of the package that a module belongs to, as far as they are imported, in order of import."""
    package = module.__name__ if hasattr(module, "__path__") else module.__package__ or ""
    if not package:
        return [module]
    return [one for name, one in list(sys.modules.items()) if f"{name}.".startswith(f"{package}.")]


def is_unbound_method(value: AnyWorkflow | AnyActivity) -> bool:
    """Whether it is an activity that needs an instance, which only the user can make."""
    return isinstance(value, Activity) and value.definition.is_method and value.instance is None


def attribute(module: ModuleType, path: str) -> object:
    """What a module has under a dotted name. Raises `DiscoveryError`."""
    found: object = module
    for name in path.split("."):
        if not hasattr(found, name):
            raise DiscoveryError(f"{module.__name__} has no {path!r}")
        found = getattr(found, name)
    return found


def definitions_in(value: object, target: str) -> Iterator[AnyWorkflow | AnyActivity]:
    """A definition, or those of a list."""
    for one in value if isinstance(value, list | tuple | set) else [value]:
        if not isinstance(one, Workflow | Activity):
            raise DiscoveryError(f"{target} is {type(one).__name__}, not a workflow or an activity, nor a list of them")
        yield one
