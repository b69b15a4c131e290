"""`perdure activity …` asks the service for what was typed."""

import pytest

from perdure.cli.exits import Exit
from perdure_proto.service import Acknowledged
from tests.unit.cli.conftest import Perdure
from tests.unit.cli.fake_service import FakeService

PAY = "/api/v1/namespaces/default/workflows/order-1/activities/3"


@pytest.mark.parametrize(
    ("words", "said", "body"),
    [
        (("pause", "--reason", "bank", "--identity", "ada"), "paused activity 3 of order-1", {"reason": "bank"}),
        (("unpause", "--reset-attempts", "--jitter", "30s"), "activity 3 of order-1 goes on", {"jitter": "PT30S"}),
        (("reset", "--keep-paused"), "reset activity 3 of order-1", {"keep_paused": True}),
        (
            ("update-options", "--heartbeat-timeout", "5s", "--maximum-attempts", "3"),
            "changed activity 3 of order-1",
            {"heartbeat_timeout": "PT5S", "retry_policy": {"maximum_attempts": 3}},
        ),
    ],
)
def test_what_is_typed_is_asked(
    perdure: Perdure, service: FakeService, words: tuple[str, ...], said: str, body: dict[str, object]
) -> None:
    """Each option becomes a field of the request, and the answer a line."""
    service.answer("POST", f"{PAY}/{words[0]}", Acknowledged(run_id="run-1"))
    outcome = perdure("activity", words[0], "order-1", "3", *words[1:])
    assert (Exit.DONE, f"{said}\n") == (outcome.status, outcome.out)
    assert body.items() <= service.last(f"{PAY}/{words[0]}").body.items()


def test_options_that_do_not_change_are_a_mistake(perdure: Perdure, service: FakeService) -> None:
    """Nothing is asked of the service."""
    assert Exit.USAGE == perdure("activity", "update-options", "order-1", "3").status
    assert [] == [asked for asked in service.asked if asked.method == "POST"]
