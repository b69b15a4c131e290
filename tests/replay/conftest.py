"""Every run that a test made is taken out of memory after it, as a worker would."""

from collections.abc import Iterator

import pytest

from tests.replay import service


@pytest.fixture(autouse=True)
def close_runs() -> Iterator[None]:
    yield
    while service.made:
        service.made.pop().instance.close()
