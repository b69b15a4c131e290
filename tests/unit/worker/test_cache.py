"""The sticky cache: what stays, what leaves, and what is torn down."""

from __future__ import annotations

from typing import Any

from perdure_worker.cache import Cache, CachedRun


class Instance:
    """What the cache sees of a workflow in memory."""

    closed = 0
    keeps_results = False

    def close(self) -> None:
        self.closed += 1


def run_of(run_id: str) -> CachedRun:
    instance: Any = Instance()
    return CachedRun(run_id, instance)


def filled(size_max: int, *run_ids: str) -> Cache:
    cache = Cache(size_max)
    for run_id in run_ids:
        cache.put(run_of(run_id))
    return cache


def kept(cache: Cache) -> list[str]:
    return [run_id for run_id in "abcd" if run_id in cache]


def test_least_recently_used_leaves() -> None:
    """A run that was asked for stays before one that was not."""
    cache = filled(2, "a", "b", "c")
    cache.get("a")
    cache.shrink()
    assert ["a", "c"] == kept(cache)


def test_run_in_use_never_leaves_by_pressure() -> None:
    """A run that waits for local activities is passed over."""
    cache = filled(1, "a", "b", "c")
    busy: Any = object()
    run = cache.get("a")
    assert run is not None
    run.turn = busy
    cache.get("c")
    cache.shrink()
    assert ["a"] == kept(cache)


def test_evicted_run_is_torn_down_once() -> None:
    """Its instance is closed, and a second eviction finds nothing."""
    cache = filled(2, "a")
    run = cache.get("a")
    assert run is not None
    cache.evict("a", "test")
    cache.evict("a", "test")
    assert run.gone
    instance: Any = run.instance
    assert 1 == instance.closed


def test_full_cache_holds_what_fits() -> None:
    """Nothing leaves while everything fits."""
    cache = filled(3, "a", "b", "c")
    cache.shrink()
    assert 3 == len(cache)


def test_cache_of_no_size_keeps_nothing() -> None:
    """A size of 0 is allowed, and says so."""
    cache = filled(0, "a")
    cache.shrink()
    assert [] == kept(cache)
    assert not cache.keeps
