"""The data folder and who may use it. It holds the database cluster (`pgdata`), the password, the log, the socket and
the lock. The lock is held by the process that owns the server, for as long as it owns it; everything else here
assumes that it is held.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from urllib.parse import quote

from perdure_server.embedded.account import Account, find_obstacle, give
from perdure_server.embedded.errors import DataDirInUseError, DataDirUnusableError
from perdure_server.embedded.settings import LOG_BYTES_MAX, PORT

SUPERUSER = "perdure"
DATABASE = "perdure"
# sun_path holds 104 bytes on macOS and 108 on Linux; the socket's own name is .s.PGSQL.5432.
SOCKET_DIR_BYTES_MAX = 85


class DataDir:
    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.pgdata = self.path / "pgdata"
        self.log_file = self.path / "postgres.log"
        self._password_file = self.path / "password"
        self._lock_file = self.path / "lock"
        self._lock: int | None = None
        self._ours = False  # whether the folder holds nothing but what we put there

    def lock(self) -> None:
        """Create the folder if missing and take it for this process, or say who has it."""
        if self._lock is not None:
            return
        self._create()
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise DataDirInUseError(
                f"the data folder {self.path} is in use by process {holder}: stop it, or choose another data folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def admit(self, account: Account | None) -> None:
        """Make sure the account that runs Postgres can get to the folder."""
        if account is None:
            return
        # Our own folder is opened, only to pass through; the folders above it are not ours to change, nor is one
        # that was there with something else in it (someone's home).
        if self._ours:
            self.path.chmod(stat.S_IMODE(self.path.stat().st_mode) | 0o011)
        obstacle = find_obstacle(account, self.path)
        if obstacle is not None:
            raise DataDirUnusableError(
                f"PostgreSQL does not run as root, and the user '{account.name}' that runs it may not enter "
                f"{obstacle}: choose a data folder elsewhere, such as /var/lib/perdure, or chmod o+x {obstacle}"
            )

    def password(self, account: Account | None) -> str:
        """Return the password of the cluster; the first call makes it."""
        if not self._password_file.exists():
            if self.pgdata.exists():
                raise DataDirUnusableError(
                    f"{self._password_file} is gone, and nobody can log in without it: restore it"
                )
            fresh = self._password_file.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            fresh.touch(mode=0o600, exist_ok=False)
            with fresh.open("w") as file:
                file.write(secrets.token_urlsafe(32))
                file.flush()
                os.fsync(file.fileno())
            give(account, fresh)
            fresh.rename(self._password_file)
        return self._password_file.read_text().strip()

    @property
    def password_file(self) -> Path:
        return self._password_file

    def socket_dir(self, account: Account | None) -> Path:
        """Return an empty folder for the socket that only the account can enter."""
        place = self._socket_place()
        place.mkdir(mode=0o700, exist_ok=True)
        _refuse_foreign(place, account)
        place.chmod(0o700)
        give(account, place)
        for leftover in place.glob(".s.PGSQL.*"):
            leftover.unlink()  # its lock file would name a process that is no longer ours
        return place

    def remove_socket_dir(self) -> None:
        shutil.rmtree(self._socket_place(), ignore_errors=True)

    def _socket_place(self) -> Path:
        inside = self.path / "socket"
        return inside if len(os.fsencode(inside)) <= SOCKET_DIR_BYTES_MAX else _short_place(inside)

    def dsn(self, socket_dir: Path, account: Account | None) -> str:
        place = quote(str(socket_dir), safe="")
        return f"postgresql://{SUPERUSER}:{self.password(account)}@/{DATABASE}?host={place}&port={PORT}"

    def set_long_log_aside(self) -> None:
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES_MAX:
            self.log_file.rename(self.log_file.with_suffix(".log.1"))

    def _create(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._ours = self.pgdata.exists() or not any(self.path.iterdir())
        except OSError as error:
            raise DataDirUnusableError(
                f"cannot use {self.path} as data folder: {error.strerror}; change its owner or choose another"
            ) from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise DataDirUnusableError(
                f"cannot write to the data folder {self.path}: change its owner or choose another"
            )


def _short_place(place: Path) -> Path:
    name = f"perdure-{os.geteuid()}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}"
    temporary = Path(tempfile.gettempdir()).resolve() / name
    if len(os.fsencode(temporary)) <= SOCKET_DIR_BYTES_MAX:
        return temporary
    return Path("/tmp", name)  # noqa: S108 - TMPDIR itself is long; the folder's owner is checked before use


def _refuse_foreign(place: Path, account: Account | None) -> None:
    # Below a folder that all may write to, someone else may have been there first.
    status = place.lstat()
    owners = {os.geteuid()} if account is None else {os.geteuid(), account.uid}
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
        raise DataDirUnusableError(f"{place} was not made by this user: remove it and start again")
