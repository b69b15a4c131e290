"""Children are relayed, started again with growing pauses, and code that changed is noticed."""

import io
import json
import os
from pathlib import Path

import pytest

from perdure.cli.supervision.keeper import PAUSE_SECONDS_MAX, STEADY_SECONDS, Backoff
from perdure.cli.supervision.source_files import snapshot, source_root, wait_for_change
from perdure.cli.supervision.voice import Voice


def test_pauses_grow_to_a_bound() -> None:
    """A child that keeps dying is started less and less often."""
    backoff = Backoff()
    assert [0.5, 1.0, 2.0, 4.0, 8.0, PAUSE_SECONDS_MAX] == [backoff.pause(0.1) for _ in range(6)]


def test_who_lived_long_starts_soon() -> None:
    """After a steady life the pauses begin anew."""
    backoff = Backoff()
    backoff.pause(0)
    backoff.pause(0)
    assert 0.5 == backoff.pause(STEADY_SECONDS)


def test_lines_are_prefixed_for_a_person() -> None:
    """On a terminal each line stands under the name of who said it."""
    stream = io.StringIO()
    voice = Voice(is_text=True, stream=stream)
    voice.say("ready", "ready", port=1)
    voice.relay("worker", "hello")
    assert ["dev      │ ready", "worker   │ hello"] == stream.getvalue().splitlines()


def test_lines_are_json_for_a_program() -> None:
    """Otherwise each line is an object, and a child's own log line passes unchanged."""
    stream = io.StringIO()
    voice = Voice(is_text=False, stream=stream)
    voice.say("ready", "ready", port=1)
    voice.relay("worker", '{"event": "x"}')
    voice.relay("worker", "hello")
    said, passed, wrapped = map(json.loads, stream.getvalue().splitlines())
    assert ("dev", "ready", 1) == (said["process"], said["event"], said["port"])
    assert {"event": "x"} == passed
    assert ("worker", "hello") == (wrapped["process"], wrapped["line"])


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a package in it, beside a lone file."""
    for name in ("shop/__init__.py", "shop/orders/__init__.py", "shop/orders/flow.py", "lone.py", "shop/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("target", ["shop/orders/flow.py", "shop.orders.flow", "shop.orders.flow:order", "shop"])
def test_a_file_of_a_package_stands_for_the_package(shop: Path, target: str) -> None:
    """A target is a file or a module, with or without an object, and its whole package is looked at."""
    assert (shop / "shop", True) == source_root(target)


@pytest.mark.parametrize("target", ["lone.py", "lone", "lone.py:hello"])
def test_a_lone_file_stands_for_its_folder(shop: Path, target: str) -> None:
    """A file that is in no package may import its neighbours, so they are looked at."""
    assert (shop, False) == source_root(target)


def test_a_module_from_elsewhere_is_not_looked_at(shop: Path) -> None:
    """An installed module does not change under our hands."""
    assert None is source_root("installed.module")


def test_a_snapshot_holds_sources_alone(shop: Path) -> None:
    """Only Python files count, each once."""
    found = {os.path.relpath(path, shop) for path in snapshot(["shop", "shop/orders/flow.py"])}
    assert {"shop/__init__.py", "shop/orders/__init__.py", "shop/orders/flow.py"} == found


async def test_a_change_is_noticed(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is written, also a new one, ends the waiting."""
    monkeypatch.setattr("perdure.cli.supervision.source_files.POLL_SECONDS", 0)
    seen = snapshot(["shop"])
    (shop / "shop" / "new.py").write_text("x = 1")
    now = await wait_for_change(["shop"], seen)
    assert {str(shop / "shop" / "new.py")} == set(now) - set(seen)
