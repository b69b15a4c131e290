"""`perdure waitpoint rotate-secret`."""

from datetime import UTC, datetime

import pytest

from perdure.cli.exits import Exit
from perdure_proto.waitpoint_secret import RotateWaitpointSecretAnswer
from tests.unit.cli.conftest import Perdure
from tests.unit.cli.fake_service import FakeService

PATH = "/api/v1/waitpoint-secret"
ANSWER = RotateWaitpointSecretAnswer(old_valid_until=datetime(2026, 1, 8, tzinfo=UTC))


@pytest.mark.parametrize(("words", "grace"), [((), "P7D"), (("--grace", "1h"), "PT3600S"), (("--now",), "P0D")])
def test_a_secret_is_rotated(perdure: Perdure, service: FakeService, words: tuple[str, ...], grace: str) -> None:
    """With a week of grace, another one, or none."""
    service.answer("POST", PATH, ANSWER)
    outcome = perdure("waitpoint", "rotate-secret", *words)
    assert (Exit.DONE, grace) == (outcome.status, service.last(PATH).body.get("grace", "P7D"))
    assert ("worthless" if "--now" in words else "2026-01-08") in outcome.out


def test_one_grace_at_a_time(perdure: Perdure, service: FakeService) -> None:
    """Nothing is sent."""
    outcome = perdure("waitpoint", "rotate-secret", "--now", "--grace", "1h")
    assert Exit.USAGE == outcome.status
    assert "give --grace or --now, not both" in outcome.err
    assert PATH not in [asked.path for asked in service.asked]
