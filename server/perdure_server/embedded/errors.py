"""What can go wrong with the embedded Postgres, as types. Each carries a code for programs and a message of one line
that says what to do.
"""

from typing import ClassVar


class EmbeddedPostgresError(Exception):
    """The embedded Postgres cannot do what was asked; the message says what to do about it."""

    code: ClassVar[str] = "embedded_postgres"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnsupportedPlatformError(EmbeddedPostgresError):
    code = "platform_unsupported"


class PostgresBinariesError(EmbeddedPostgresError):
    code = "binaries_unusable"


class PostgresAccountError(EmbeddedPostgresError):
    code = "account_missing"


class DataDirUnusableError(EmbeddedPostgresError):
    code = "data_dir_unusable"


class DataDirInUseError(EmbeddedPostgresError):
    code = "data_dir_in_use"


class DataDirVersionError(EmbeddedPostgresError):
    code = "data_dir_version"


class PostgresStartError(EmbeddedPostgresError):
    code = "start_failed"
