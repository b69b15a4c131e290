"""The scan of workflow code for the clock that no patch can reach."""

from __future__ import annotations

import datetime  # noqa: ICN001 - the subject
import datetime as dt
from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from perdure_worker.guard import find_wall_clock_calls
from perdure_worker.guard.seam import originals

clock = SimpleNamespace(now=lambda: None)


def _calls(fn: object) -> list[str]:
    return [finding.call for finding in find_wall_clock_calls(fn)]


async def by_module() -> object:
    return datetime.datetime.now(tz=datetime.UTC)


async def by_alias() -> object:
    return dt.datetime.utcnow()  # noqa: DTZ003 - the subject


async def by_name() -> object:
    return date.today()  # noqa: DTZ011 - the subject


async def by_local_import() -> object:
    from datetime import datetime as local

    return local.today()  # noqa: DTZ002 - the subject


async def by_local_module() -> object:
    import datetime as local  # noqa: ICN001 - the subject

    return local.datetime.now()  # noqa: DTZ005 - the subject


async def by_nested_function() -> object:
    def nested() -> object:
        return [datetime.datetime.now() for _ in range(2)]  # noqa: DTZ005 - the subject

    return nested()


async def by_reference() -> object:
    return sorted([1], key=lambda _: max([], key=datetime.datetime.now))


def helper() -> object:
    return other_helper()


def other_helper() -> object:
    return date.today()  # noqa: DTZ011 - the subject


async def by_helper() -> object:
    return helper()


class Ledger:
    """A class whose methods read the clock."""

    def stamp(self) -> object:
        return datetime.datetime.now()  # noqa: DTZ005 - the subject

    def unused(self) -> object:
        return datetime.datetime.utcnow()  # noqa: DTZ003 - the subject

    @staticmethod
    def day() -> object:
        return date.today()  # noqa: DTZ011 - the subject


async def by_method() -> object:
    ledger = Ledger()
    return ledger.stamp()


async def by_static_method() -> object:
    return Ledger.day()


FOUND: list[tuple[Callable[[], Any], str]] = [
    (by_module, "datetime.now()"),
    (by_alias, "datetime.utcnow()"),
    (by_name, "date.today()"),
    (by_local_import, "datetime.today()"),
    (by_local_module, "datetime.now()"),
    (by_nested_function, "datetime.now()"),
    (by_reference, "datetime.now()"),
    (by_helper, "date.today()"),
    (by_method, "datetime.now()"),
    (by_static_method, "date.today()"),
]


@pytest.mark.parametrize(("fn", "call"), FOUND, ids=lambda value: getattr(value, "__name__", ""))
def test_call_is_found(fn: Callable[[], Any], call: str) -> None:
    """The wall clock is found however it is named, and once."""
    assert [call] == _calls(fn)


async def of_another_clock() -> object:
    return clock.now()


async def of_an_argument(datetime: Any) -> object:
    return datetime.now()


async def of_a_given_instant() -> object:
    return datetime.datetime.fromtimestamp(0, tz=datetime.UTC) - datetime.timedelta(days=1)


async def of_a_value() -> object:
    now = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    return now.date()


@pytest.mark.parametrize("fn", [of_another_clock, of_an_argument, of_a_given_instant, of_a_value])
def test_other_code_is_no_finding(fn: Callable[..., Any]) -> None:
    """A method of the same name on something else is nobody's wall clock."""
    assert [] == _calls(fn)


def test_closure_is_resolved() -> None:
    """A class that a workflow closes over is known."""
    kind = datetime.datetime

    async def closing() -> object:
        return kind.now()

    assert ["datetime.now()"] == _calls(closing)


def test_finding_says_where_and_what_instead() -> None:
    """A finding is one line with the place and the remedy."""
    (finding,) = find_wall_clock_calls(by_helper)

    assert "other_helper" == finding.function
    assert other_helper.__code__.co_firstlineno + 1 == finding.line
    assert "workflow.now()" in str(finding)


def test_name_imported_before_the_guard_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real clock that a module kept from before the guard is found by its identity."""
    _, real = next(entry for entry in originals.values() if entry[0] == "time.time")
    monkeypatch.setitem(globals(), "kept_clock", real)

    async def using() -> object:
        return kept_clock()  # type: ignore[name-defined]  # noqa: F821 - put there by the test

    assert ["time.time()"] == _calls(using)


def test_what_is_no_function_has_no_findings() -> None:
    """Anything else than a Python function is passed over."""
    assert [] == _calls(len)
