"""How client and worker of DBOS meet: a queue, and how often each looks. DBOS polls, both for work and for results; its
defaults, a second each, add about a second to every result.

Tuned by a few trials on two busy cores, three of each alone and two together, so only roughly. Alone, from 1 to 10 ms:
W1 was quickest at 1 ms, W4 at 5 ms, W2 showed no difference. Together, looking for results every 5 ms was slowest,
since each look is a query that takes time from the work; 50 ms and more did not differ clearly.
"""

from __future__ import annotations

from msgspec import Struct

QUEUE = "benchmark"


class Polling(Struct, frozen=True):
    """Seconds between two looks."""

    work: float
    result: float


ALL_THE_TIME = Polling(work=0.001, result=0.001)
ALONE = Polling(work=0.005, result=0.005)
TOGETHER = Polling(work=0.02, result=0.1)

POLLING = {"w1_alone": ALL_THE_TIME, "w1_throughput": TOGETHER, "w2_throughput": TOGETHER}


def polling_of(section: str) -> Polling:
    return POLLING.get(section, ALONE)
