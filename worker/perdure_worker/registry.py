"""The workflows and activities of a worker by name, checked when the worker is made.

Two definitions of one name, types that cannot be read, a clock that would make a workflow nondeterministic: each is
refused here, by name, and not when the first task comes. The build id is a hash of the workflows' source.
"""

from __future__ import annotations

import hashlib
import inspect
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from perdure._definition import Activity, ActivityDefinition, Definition, Workflow, WorkflowDefinition
from perdure._signature import Signature
from perdure.exceptions import NondeterminismError
from perdure_worker.guard import find_wall_clock_calls

BUILD_ID_LENGTH: Final = 16

D = TypeVar("D", bound=Definition)


class RegistrationError(ValueError):
    """Workflows or activities that a worker cannot run; the message names them."""


class RegisteredActivity(NamedTuple):
    """An activity as the worker runs it: the function, bound where it is a method."""

    definition: ActivityDefinition
    fn: Callable[..., Any]
    signature: Signature
    pickled: bytes = b""
    """The activity as it goes into a process, where it is to run in one."""


class Named(Generic[D]):
    """Definitions by name, with at most one that takes every other name."""

    def __init__(self, kind: str, definitions: Iterable[D]) -> None:
        self._kind = kind
        self.by_name: dict[str, D] = {}
        self.dynamic: D | None = None
        for definition in definitions:
            self._add(definition)

    def find(self, name: str) -> D:
        """The definition of a name. Raises `LookupError`."""
        found = self.by_name.get(name, self.dynamic)
        if found is None:
            raise LookupError(f"this worker has no {self._kind} {name!r}; it has {', '.join(self.by_name) or 'none'}")
        return found

    def _add(self, definition: D) -> None:
        other = self.dynamic if definition.dynamic else self.by_name.get(definition.name)
        if other is not None:
            what = f"dynamic {self._kind}" if definition.dynamic else f"{self._kind} named {definition.name!r}"
            raise RegistrationError(f"two definitions of the {what}: {place(other)} and {place(definition)}")
        if definition.dynamic:
            self.dynamic = definition
        else:
            self.by_name[definition.name] = definition


class Registry:
    """What a worker can run. Raises `RegistrationError`, `ConversionError` or `NondeterminismError`."""

    def __init__(self, workflows: Sequence[object], activities: Sequence[object]) -> None:
        self.workflows = Named("workflow", [workflow_definition(one) for one in workflows])
        taken = [as_activity(one) for one in activities]
        self.activities = Named("activity", [activity.definition for activity in taken])
        self._functions = {activity.definition: registered(activity) for activity in taken}
        if not taken and not workflows:
            raise RegistrationError("a worker needs at least one workflow or activity")

    def workflow(self, name: str) -> WorkflowDefinition:
        """The workflow of a name. Raises `LookupError`."""
        return self.workflows.find(name)

    def activity(self, name: str) -> RegisteredActivity:
        """The activity of a name. Raises `LookupError`."""
        return self._functions[self.activities.find(name)]

    def build_id(self) -> str:
        """A hash of the source of all workflows."""
        definitions = [*self.workflows.by_name.values(), *filter(None, [self.workflows.dynamic])]
        digest = hashlib.sha256()
        for definition in sorted(definitions, key=lambda one: one.name):
            digest.update(f"{definition.name}\0{source_of(definition)}\0".encode())
        return digest.hexdigest()[:BUILD_ID_LENGTH]


def workflow_definition(given: object) -> WorkflowDefinition:
    """The definition behind `@workflow.defn`, checked."""
    if not isinstance(given, Workflow):
        raise RegistrationError(f"{given!r} is not a workflow: declare it with @workflow.defn")
    definition = given.definition
    definition.resolve()
    findings = find_wall_clock_calls(definition.fn)
    if findings:
        raise NondeterminismError("\n".join([f"workflow {definition.name}: {finding}" for finding in findings]))
    return definition


def as_activity(given: object) -> Activity[..., Any]:
    """The activity behind `@activity.defn`, checked."""
    if not isinstance(given, Activity):
        raise RegistrationError(f"{given!r} is not an activity: declare it with @activity.defn")
    definition = given.definition
    if definition.is_method and given.instance is None:
        raise RegistrationError(f"activity {given.name!r} is a method: register it on an instance, as in Bank().charge")
    return given


def registered(activity: Activity[..., Any]) -> RegisteredActivity:
    definition = activity.definition
    in_process = definition.executor == "process"
    pickled = pickled_activity(activity) if in_process else b""
    return RegisteredActivity(definition, activity.fn, definition.resolve(), pickled)


def pickled_activity(activity: Activity[..., Any]) -> bytes:
    """An activity on its way into a process, where it is found by its name."""
    if "<locals>" in activity.definition.fn.__qualname__:
        raise RegistrationError(
            f'activity {activity.name!r} has executor="process", so it must stand at the top of a module or in a'
            f" class there, where the process finds it: {place(activity.definition)}"
        )
    try:
        return pickle.dumps(activity)
    except Exception as error:
        raise RegistrationError(
            f'activity {activity.name!r} has executor="process", but what it is bound to cannot be pickled: {error}'
        ) from error


def place(definition: Definition) -> str:
    """Where a definition stands, for messages."""
    fn = definition.fn
    code = getattr(fn, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"{fn.__module__}.{fn.__qualname__}{where}"


def source_of(definition: Definition) -> str:
    """The source of a function; its code where there is none."""
    try:
        return inspect.getsource(definition.fn)
    except (OSError, TypeError):
        return repr(definition.fn.__code__.co_code) if hasattr(definition.fn, "__code__") else definition.name
