"""Seeds that found something, by what they found: each failed once, and has a directed test beside the code it mended.

`@1` is what a seed meant before programs were richer.

What a seed does changes with the code it runs; the directed tests hold the mended behaviour, these go on looking there.
"""

from __future__ import annotations

import re

import pytest

from tests.simulation.conftest import Simulate

FOUND = {
    "a task parked on its way to the store is missed by the refill": "61@1",
    "a buffered timer is recorded before its time": "90@1",
    "a respond fails for good when a run cannot be read": "385@1",
    "a reset goes to a task that the log does not have yet": "1058@1",
    "a signal repeated over a start that replaces its run": "1173@1",
    "a poll put away in its last turn keeps its slots": "1696@1",
    "parked tasks of closed runs hide the others": "1834@1",
    "timers that came due while the store was away": "2175@1",
    "a reset that comes twice at once": "2634@1",
    "a timer that is due after the fence was lost": "3384@1",
    "a server that came back is cut off by its former self": "235",
    "a signal-with-start that comes twice is answered before it is durable": "3231",
}


@pytest.fixture(scope="module")
def failing(simulate: Simulate) -> dict[str, str]:
    """What is wrong, by seed."""
    said = simulate("=" + ",".join(FOUND.values()), "--no-shrink").stdout
    assert f"{len(FOUND)} seeds" in said, said
    return dict(re.findall(r"^seed (\S+): (.*)$", said, re.MULTILINE))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FOUND)
def test_found(failing: dict[str, str], name: str) -> None:
    """A world that once failed passes."""
    assert "" == failing.get(FOUND[name], "")
