"""The examples in the docstrings of proto hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import perdure_proto

MODULES = [found.name for found in pkgutil.walk_packages(perdure_proto.__path__, "perdure_proto.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name: str) -> None:
    """Every example of a module prints what it says."""
    assert 0 == doctest.testmod(importlib.import_module(name)).failed


def test_there_are_examples() -> None:
    """The examples are found at all."""
    examples = [doctest.testmod(importlib.import_module(name)).attempted for name in MODULES]

    assert sum(examples) > 10
