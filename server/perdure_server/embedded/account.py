"""Who runs Postgres. It refuses to run as root, so root hands it to an unprivileged account; anyone else runs it
themselves. A data folder that exists keeps the account that owns it, whatever accounts were added to the machine
since.
"""

import os
import stat
import sys
from pathlib import Path

import msgspec

from perdure_server.embedded.errors import PostgresAccountError

if sys.platform != "win32":
    import pwd

CANDIDATES = ("postgres", "nobody")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    uid: int
    gid: int


def choose_account(pgdata: Path) -> Account | None:
    """Return the account that must run Postgres, or None if it is ourselves."""
    if os.geteuid() != 0:
        return None
    if pgdata.exists() and pgdata.stat().st_uid != 0:
        return _owner(pgdata)
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise PostgresAccountError(
        "PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' to run it as: "
        "create one (useradd --system postgres), or start perdure as another user"
    )


def find_obstacle(account: Account | None, path: Path) -> Path | None:
    """Return the first folder on the way to `path`, or `path` itself, that the account may not enter."""
    if account is None:
        return None
    for step in (*reversed(path.parents), path):
        if not _may_enter(account, step.stat()):
            return step
    return None


def give(account: Account | None, path: Path) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _owner(path: Path) -> Account:
    status = path.stat()
    try:
        entry = pwd.getpwuid(status.st_uid)
    except KeyError:
        return Account(name=str(status.st_uid), uid=status.st_uid, gid=status.st_gid)
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def _may_enter(account: Account, status: os.stat_result) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
