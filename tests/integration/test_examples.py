"""The examples run as their pages say: through the command line, with real processes."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import scratch_folder

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
PERDURE = Path(sys.executable).with_name("perdure")
READY_SECONDS_MAX = 40.0
COMMAND_SECONDS_MAX = 40.0

ORDER = {"id": "o-1", "item": "teapot", "quantity": 1, "cents": 4200}

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the embedded Postgres does not run on Windows"),
    pytest.mark.timeout(120),
]


@dataclass(frozen=True)
class Machine:
    """What `perdure dev` runs, as somebody at another terminal sees it."""

    environment: dict[str, str]

    def perdure(self, *command: str) -> Any:
        """What a command prints, which must succeed."""
        done = subprocess.run(
            [PERDURE, *command],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS_MAX,
        )
        assert (0, "") == (done.returncode, done.stderr)
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Both examples under one `perdure dev`, and the shop."""
    with scratch_folder() as folder:
        shop_port = free_port()
        environment = clean_environment() | {"SHOP_URL": f"http://127.0.0.1:{shop_port}"}
        shop = [sys.executable, EXAMPLES / "orders" / "shop.py", "--port", shop_port, "--ledger", folder / "ledger"]
        files = (
            EXAMPLES / "hello" / "hello.py",
            EXAMPLES / "orders" / "orders.py",
            EXAMPLES / "transfers" / "transfers.py",
        )
        dev = [PERDURE, "dev", *files, "--port", 0, "--data-dir", folder / "data", "--log-format", "json"]
        with running(shop, environment), running(dev, environment) as process:
            address = until_ready(process)
            yield Machine(environment | {"PERDURE_ADDRESS": address})


def test_hello_greets(machine: Machine) -> None:
    """The first workflow prints what its page promises."""
    assert "Hello, Ada!" == machine.perdure("workflow", "execute", "hello", "--input", '"Ada"')


def test_a_transfer_moves_money_once(machine: Machine) -> None:
    """`perdure dev` gives its worker the database, and each transfer is one."""
    transfer = ("workflow", "execute", "pay", "--input", '"ada"', "--input", '"bob"', "--input", "250")
    assert ["ada has 750 left", "ada has 500 left"] == [machine.perdure(*transfer) for _ in range(2)]


def test_a_rejected_order_is_not_charged(machine: Machine) -> None:
    """An order that is not approved releases what it reserved and charges nothing."""
    machine.perdure(
        "workflow", "start", "fulfil_order", "--id", "o-1", "--input", json.dumps(ORDER), "--output", "json"
    )
    decision = json.dumps({"by": "Ada", "ok": False})
    machine.perdure("workflow", "signal", "o-1", "approve", "--input", decision, "--output", "json")
    receipt = machine.perdure("workflow", "result", "o-1")
    assert ("rejected", "") == (receipt["outcome"], receipt["charge"])
    assert "rejected by Ada" == machine.perdure("workflow", "query", "o-1", "status")


def test_the_demo_finishes_its_orders() -> None:
    """A few orders through the processes of the demo end with a ledger that is in order."""
    demo: list[str | Path] = [sys.executable, EXAMPLES / "orders" / "demo.py", "--orders", "5", "--calm"]
    done = subprocess.run(demo, env=clean_environment(), capture_output=True, text=True, check=False, timeout=100)
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert "5 of 5 orders finished" in done.stdout
    assert "WorkflowExecutionCompleted" in done.stdout


@contextmanager
def running(command: list[Any], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process for as long as the block lasts."""
    process = subprocess.Popen([str(word) for word in command], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        with process:
            yield process
            process.terminate()
            process.wait(COMMAND_SECONDS_MAX)
    finally:
        process.kill()


def until_ready(dev: subprocess.Popen[str]) -> str:
    """Read what `dev` says until it says that it is ready, and return its address; go on reading in the background."""
    assert dev.stderr is not None
    patience = threading.Timer(READY_SECONDS_MAX, dev.kill)
    patience.start()
    said = []
    for line in dev.stderr:
        said.append(line)
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "ready":
            patience.cancel()
            threading.Thread(target=dev.stderr.read, daemon=True).start()
            return str(event["address"])
    raise AssertionError("".join(said))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """Our environment without settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
