"""How a mutant takes something out."""

from __future__ import annotations

from typing import Any


def replace(owner: Any, name: str, instead: Any) -> None:
    """For the rest of the process."""
    assert hasattr(owner, name), "a mutant of what there is"
    setattr(owner, name, instead)
