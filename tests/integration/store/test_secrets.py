"""Secrets in generations."""

from __future__ import annotations

from datetime import timedelta

from perdure_server.store.port import Store
from tests.integration.store.rows import NOW

NAME = "waitpoints"


async def test_the_newest_secret_signs(store: Store) -> None:
    """The first has no end; once it is rotated it has one, which a later rotation brings forward but not back."""
    (first,) = await store.secrets(NAME)
    assert first.valid_until is None
    await store.rotate_secret(NAME, NOW, 9)
    await store.rotate_secret(NAME, NOW + timedelta(hours=1), 9)
    found = await store.secrets(NAME)
    assert [None, NOW + timedelta(hours=1), NOW] == [row.valid_until for row in found]
    assert [first.generation + 2, first.generation + 1, first.generation] == [row.generation for row in found]
    assert (3, first.secret) == (len({row.secret for row in found}), found[-1].secret)


async def test_few_secrets_are_kept(store: Store) -> None:
    """The oldest go."""
    (first,) = await store.secrets(NAME)
    for _ in range(3):
        await store.rotate_secret(NAME, NOW, 2)
    assert [first.generation + 3, first.generation + 2] == [row.generation for row in await store.secrets(NAME)]
