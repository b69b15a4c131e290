"""Seeds that found something, by what they found: each failed once, and has a directed test beside the code it mended.

What a seed does changes with the code it runs; the directed tests hold the mended behaviour, these go on looking there.
"""

from __future__ import annotations

import re

import pytest

from tests.simulation.conftest import Simulate

FOUND = {
    "a task parked on its way to the store is missed by the refill": "61",
    "a buffered timer is recorded before its time": "90",
    "a respond fails for good when a run cannot be read": "385",
    "a reset goes to a task that the log does not have yet": "1058",
    "a signal repeated over a start that replaces its run": "1173",
    "a poll put away in its last turn keeps its slots": "1696",
    "parked tasks of closed runs hide the others": "1834",
    "timers that came due while the store was away": "2175",
    "a reset that comes twice at once": "2634",
    "a timer that is due after the fence was lost": "3384",
    "a completion that waits on a link which nobody introduces any more": "888",
}


@pytest.fixture(scope="module")
def failing(simulate: Simulate) -> dict[str, str]:
    """What is wrong, by seed."""
    said = simulate("=" + ",".join(FOUND.values()), "--no-shrink").stdout
    assert f"{len(FOUND)} seeds" in said, said
    return dict(re.findall(r"^seed (\w+): (.*)$", said, re.MULTILINE))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FOUND)
def test_found(failing: dict[str, str], name: str) -> None:
    """A world that once failed passes."""
    assert "" == failing.get(FOUND[name], "")
