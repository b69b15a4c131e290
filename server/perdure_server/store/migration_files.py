"""The migrations as files: `0001_initial.sql` and on, without gaps. In a wheel they lie inside the package, in a
checkout at its root.
"""

import hashlib
import re
from pathlib import Path

import msgspec

FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


class MigrationFilesError(Exception):
    """The folder of migrations is missing, empty or has gaps: the installation is broken."""


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    name: str
    script: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.script.encode()).hexdigest()


def find_folder() -> Path:
    package = Path(__file__).parents[1]
    for folder in (package / "migrations", package.parents[1] / "migrations"):
        if folder.is_dir():
            return folder
    raise MigrationFilesError("perdure is installed without its migrations: install it again")


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """Return all migrations in order."""
    folder = folder or find_folder()
    migrations = [_read(file) for file in sorted(folder.glob("*.sql")) if FILE_NAME.fullmatch(file.name)]
    if not migrations or [one.version for one in migrations] != list(range(1, len(migrations) + 1)):
        found = ", ".join(f"{one.version:04}" for one in migrations) or "none"
        raise MigrationFilesError(f"migrations in {folder} must be numbered from 0001 without gaps; found {found}")
    return migrations


def _read(file: Path) -> Migration:
    match = FILE_NAME.fullmatch(file.name)
    assert match is not None
    # Text mode: a checkout with other line ends has the same checksum.
    return Migration(version=int(match[1]), name=match[2], script=file.read_text(encoding="utf-8"))
