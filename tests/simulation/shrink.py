"""Makes a failing scenario smaller while it still breaks the same law: fewer faults, fewer actions, fewer steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from msgspec import structs

from perdure_server.config import EngineSettings
from tests.simulation.network import Weather
from tests.simulation.scenario import Action, Scenario
from tests.simulation.store import StoreWeather

RUNS_MAX: Final = 400

Fails = Callable[[Scenario], bool]


def law_of(wrong: list[str]) -> str:
    """What a finding is about, without its names: the first one counts."""
    return wrong[0].partition(":")[0] if wrong else ""


def shrink(scenario: Scenario, fails: Fails) -> Scenario:
    """The smallest that was found within the limit of runs; `fails` runs a scenario and compares the law."""
    runs = 0
    smaller_found = True
    while smaller_found:
        smaller_found = False
        for smaller in smaller_ones(scenario):
            runs += 1
            if runs > RUNS_MAX:
                return scenario
            if fails(smaller):
                scenario, smaller_found = smaller, True
                break
    return scenario


def smaller_ones(scenario: Scenario) -> Iterator[Scenario]:
    """Each with one thing less, the largest things first."""
    replace = structs.replace
    for clients in without_some(scenario.clients):
        yield replace(scenario, clients=clients)
    for place, script in enumerate(scenario.clients):
        for shorter in without_some(script):
            yield replace(scenario, clients=[*scenario.clients[:place], shorter, *scenario.clients[place + 1 :]])
    for faults in without_some(scenario.faults):
        yield replace(scenario, faults=faults)
    yield from _calmer(scenario)
    for place, script in enumerate(scenario.clients):
        for number, action in enumerate(script):
            for simpler in _simpler(action):
                changed = [*script[:number], simpler, *script[number + 1 :]]
                yield replace(scenario, clients=[*scenario.clients[:place], changed, *scenario.clients[place + 1 :]])


def without_some(things: list[Any]) -> Iterator[list[Any]]:
    """Halves, quarters, and each one alone left out."""
    size = len(things)
    while size:
        for begin in range(0, len(things), size):
            if len(things) > 1 or size == len(things):
                yield [*things[:begin], *things[begin + size :]]
        size //= 2


def _calmer(scenario: Scenario) -> Iterator[Scenario]:
    replace = structs.replace
    for weather in (Weather(), *_each_default(scenario.weather, Weather())):
        if weather != scenario.weather:
            yield replace(scenario, weather=weather)
    for store_weather in (StoreWeather(), *_each_default(scenario.store_weather, StoreWeather())):
        if store_weather != scenario.store_weather:
            yield replace(scenario, store_weather=store_weather)
    for engine in (EngineSettings(), *_each_default(scenario.engine, EngineSettings())):
        if engine != scenario.engine:
            yield replace(scenario, engine=engine)
    for name, plain in (("servers", 1), ("workers", 1), ("cached_workflows", 100), ("slots", 100)):
        if getattr(scenario, name) != plain:
            yield replace(scenario, **{name: plain})


def _each_default(given: Any, plain: Any) -> Iterator[Any]:
    for name in given.__struct_fields__:
        if getattr(given, name) != getattr(plain, name):
            yield structs.replace(given, **{name: getattr(plain, name)})


def _simpler(action: Action) -> Iterator[Action]:
    """The same with a shorter program."""
    if action.do in ("start", "signal_with_start"):
        for steps in _shorter(action.values[0]):
            yield structs.replace(action, values=[steps, *action.values[1:]])


def _shorter(steps: list[Any]) -> Iterator[list[Any]]:
    yield from without_some(steps)
    for place, step in enumerate(steps):
        for number, part in enumerate(step):
            if isinstance(part, list) and part and isinstance(part[0], list):
                for shorter in _shorter(part):
                    inner = [*step[:number], shorter, *step[number + 1 :]]
                    yield [*steps[:place], inner, *steps[place + 1 :]]
