"""A scenario: all that a seed decided beforehand, as data that can be read, shrunk, written down and run again.

What is left to chance while it runs is drawn from streams of their own for each host and route, so taking one thing out
of a scenario leaves the others' draws alone.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from perdure_server.config import EngineSettings
from tests.simulation.network import Weather
from tests.simulation.store import StoreWeather


class Action(Struct, kw_only=True):
    """What a client does: `at` seconds after the beginning, with a workflow."""

    at: float
    do: str
    on: str
    values: list[Any] = []


class Fault(Struct, kw_only=True):
    """What befalls a host, or all: `at` a time, for a while. `steps`: so many of its steps later."""

    at: float
    what: str
    on: str = ""
    lasts: float = 0.0
    steps: int = 0
    amount: float = 0.0


class Scenario(Struct, kw_only=True):
    """A world before it runs."""

    seed: str
    servers: int = 2
    is_shared: bool = False
    """Whether each server owns a share of the shards; else one at a time owns all."""
    workers: int = 2
    cached_workflows: int = 100
    slots: int = 100
    engine: EngineSettings = EngineSettings()
    weather: Weather = Weather()
    store_weather: StoreWeather = StoreWeather()
    clients: list[list[Action]] = []
    faults: list[Fault] = []
    calm_at: float = 12.0
    """When faults and bad weather are over."""

    @property
    def kinds(self) -> set[str]:
        """The kinds of fault that there are."""
        bad = [(self.weather, Weather()), (self.store_weather, StoreWeather())]
        skies = {
            name for sky, good in bad for name in sky.__struct_fields__ if getattr(sky, name) != getattr(good, name)
        }
        return skies | {fault.what for fault in self.faults}


def write(scenario: Scenario) -> str:
    """As JSON."""
    return msgspec.json.format(msgspec.json.encode(scenario), indent=1).decode()


def read(text: str | bytes) -> Scenario:
    """From JSON."""
    return msgspec.json.decode(text, type=Scenario)
