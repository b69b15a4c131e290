"""How every process writes its log: to stderr, readable on a terminal, one JSON object a line otherwise.

Records of the standard library (aiohttp, asyncio, users' own) take the same way.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

QUIET: Final = ("aiohttp.access", "asyncio")
"""Loggers that speak of every request or of debugging: heard from warnings on."""


def configure_logs(format: str, level: str, *, process: str | None = None) -> None:
    """Set up structlog and logging, once for a process. `process` names it in lines that several share."""
    as_text = format == "text" or (format == "auto" and sys.stderr.isatty())
    prepare = _prepare(None if as_text else process)  # a person sees the name before the line
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *prepare, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=prepare,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_render(as_text=as_text)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _prepare(process: str | None) -> list[Processor]:
    def name_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if process is not None:
            event.setdefault("process", process)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        name_process,
    ]


def _render(*, as_text: bool) -> list[Processor]:
    if as_text:
        return [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ]
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=str),
    ]
