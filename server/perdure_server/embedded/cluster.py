"""Making the database cluster. It is made aside and renamed into place when it is whole and on disk, so a process
killed at any moment leaves either no cluster or a good one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from perdure_server.embedded.account import Account, give
from perdure_server.embedded.binaries import POSTGRES_MAJOR, Binaries
from perdure_server.embedded.data_dir import DATABASE, SUPERUSER, DataDir
from perdure_server.embedded.errors import DataDirVersionError, PostgresStartError

INITDB_SECONDS_MAX = 120.0


def ensure_cluster(data_dir: DataDir, binaries: Binaries, account: Account | None) -> None:
    """Leave a cluster of our major version in `pgdata`, or refuse the one that is there."""
    if data_dir.pgdata.exists():
        refuse_other_version(data_dir.pgdata)
        # Volumes are handed out with group rights, and Postgres refuses them.
        data_dir.pgdata.chmod(0o700)
        return
    data_dir.password(account)
    fresh = data_dir.path / "pgdata.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    give(account, fresh)
    _initialise(fresh, data_dir.password_file, binaries, account)
    fresh.rename(data_dir.pgdata)
    _sync_folder(data_dir.path)


def refuse_other_version(pgdata: Path) -> None:
    try:
        found = (pgdata / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        found = "unknown"
    if found != str(POSTGRES_MAJOR):
        raise DataDirVersionError(
            f"the data folder {pgdata.parent} was made by PostgreSQL {found}, and this perdure brings "
            f"{POSTGRES_MAJOR}: dump it with the perdure that made it and restore the dump here, or choose another "
            "data folder"
        )


def environment() -> dict[str, str]:
    """Our own environment without what would steer Postgres (PGDATA, PGPORT, locale)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    # On macOS an invalid locale starts a thread in the postmaster, which then refuses to go on.
    return kept | {"LC_ALL": "C"}


def _initialise(fresh: Path, password_file: Path, binaries: Binaries, account: Account | None) -> None:
    initdb = [str(binaries.initdb), f"--pgdata={fresh}"]
    identity = [f"--username={SUPERUSER}", "--auth=scram-sha-256", f"--pwfile={password_file}"]
    _run([*initdb, *identity, "--encoding=UTF8", "--locale=C", "--no-instructions", "--no-sync"], account)
    postgres = [str(binaries.postgres), "--single", "-D", str(fresh), "postgres"]
    _run(postgres, account, given=f"create database {DATABASE}\n")
    # Everything at once at the end: 15 ms with syncfs, where initdb's own way takes a flush for every file.
    method = ["--sync-method=syncfs"] if sys.platform.startswith("linux") else []
    _run([*initdb, "--sync-only", *method], account)


def _run(command: list[str], account: Account | None, given: str = "") -> None:
    result = subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=environment(),
        timeout=INITDB_SECONDS_MAX,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
    )
    if result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()
        why = next((line for line in said if "error:" in line or "FATAL" in line), said[-1] if said else "no output")
        raise PostgresStartError(f"cannot create the database cluster: {Path(command[0]).name} said: {why}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
