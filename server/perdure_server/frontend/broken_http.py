"""What callers send that is no HTTP is their mistake, not ours: it is told at the level of debugging, in one line.

aiohttp calls it an error and adds a traceback: anybody who reaches the port could fill the log.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError

http_logger = logging.getLogger("perdure_server.http")
"""The logger for aiohttp's server."""


class _NotOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        http_logger.debug("broken HTTP: %s", type(error).__name__)
        return False


http_logger.addFilter(_NotOurs())
