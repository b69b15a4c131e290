"""perdure: durable execution for Python on Postgres.

Workflows and activities are plain functions with a decorator; a `Client` starts them, and workers run them.

    from perdure import activity, workflow

    @activity.defn
    async def greet(name: str) -> str:
        return f"Hello, {name}!"

    @workflow.defn
    async def hello(name: str) -> str:
        return await greet(name)
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from perdure import activity, exceptions, workflow
from perdure.client import Client, History, WorkflowHandle
from perdure.converter import DataConverter, PayloadCodec, RawValue
from perdure.exceptions import ApplicationError
from perdure_proto.options import Priority, RetryPolicy

__all__ = [
    "ApplicationError",
    "Client",
    "DataConverter",
    "History",
    "PayloadCodec",
    "Priority",
    "RawValue",
    "RetryPolicy",
    "WorkflowHandle",
    "__version__",
    "activity",
    "exceptions",
    "workflow",
]

try:
    __version__ = version("perdure")
except PackageNotFoundError:  # run from a source tree
    __version__ = "0.0.0"
