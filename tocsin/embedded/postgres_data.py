"""PostgreSQL's data directory: made whole or not at all, owned by one live server."""

import os
import secrets
import shutil
from pathlib import Path

from tocsin.embedded.binaries import PostgresBinaries
from tocsin.embedded.errors import PlatformError
from tocsin.embedded.orphans import mark
from tocsin.embedded.pids import look
from tocsin.embedded.postgres_settings import initdb_options
from tocsin.embedded.process import run, until
from tocsin.embedded.secret_files import sync_folder
from tocsin.embedded.server_user import ServerUser

_INITDB_LIMIT = 120.0
_SWEEP_LIMIT = 10.0


async def ensure_cluster(
    home: Path,
    binaries: PostgresBinaries,
    user: ServerUser | None,
    *,
    superuser: str,
    password: str,
    durable: bool,
    log: Path,
    run_dir: Path | None,
) -> None:
    """Make the data directory unless it is there; refuse one of another major version."""
    if (home / "PG_VERSION").exists():
        _check_version(home, binaries)
        return
    # Made beside its place and renamed when complete: a kill in the middle leaves no half cluster.
    if not await until(lambda: _swept(home), _SWEEP_LIMIT):
        raise PlatformError(f"What a killed start left beside {home} cannot be removed.")
    unfinished, password_file = _prepare(home, user, password)
    try:
        await run(
            [
                binaries.initdb,
                f"--pgdata={unfinished}",
                f"--pwfile={password_file}",
                *initdb_options(superuser, major=binaries.major, durable=durable),
            ],
            log=log,
            user=user,
            cwd=unfinished,
            limit=_INITDB_LIMIT,
            extra=mark(run_dir, "initdb"),
        )
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    finally:
        password_file.unlink(missing_ok=True)
    unfinished.rename(home)
    if durable:
        sync_folder(home.parent)


def _check_version(home: Path, binaries: PostgresBinaries) -> None:
    made_by = (home / "PG_VERSION").read_text().strip()
    if made_by != str(binaries.major):
        raise PlatformError(
            f"The data in {home} were made by PostgreSQL {made_by}, "
            f"but PostgreSQL {binaries.version} was found ({binaries.folder})."
        )


def _swept(home: Path) -> bool:
    """Remove what a killed run left; False while a process of it still writes there."""
    for left_behind in home.parent.glob(f".{home.name}.*"):
        if left_behind.is_dir():
            shutil.rmtree(left_behind, ignore_errors=True)
        else:
            left_behind.unlink(missing_ok=True)
    return not any(home.parent.glob(f".{home.name}.*"))


def _prepare(home: Path, user: ServerUser | None, password: str) -> tuple[Path, Path]:
    """Make an empty directory and a password file (0600), both the server user's."""
    home.parent.mkdir(parents=True, exist_ok=True)
    if home.is_dir():
        try:
            home.rmdir()
        except OSError:
            raise PlatformError(f"{home} holds files, but not PostgreSQL's.") from None
    own = secrets.token_hex(4)
    unfinished = home.with_name(f".{home.name}.{own}.new")
    password_file = home.with_name(f".{home.name}.{own}.password")
    unfinished.mkdir(mode=0o700)
    fd = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(password)
        if user is not None:
            os.fchown(fd, user.uid, user.gid)
    if user is not None:
        os.chown(unfinished, user.uid, user.gid, follow_symlinks=False)
    return unfinished, password_file


def live_postmaster(home: Path) -> int | None:
    """Return the id of the server that owns `home`; remove the pid file of one that is gone.

    PostgreSQL itself would stop at a pid file whose id was given to another process since (as
    happens in every restarted container) or belongs to a zombie that nobody reaps.
    """
    pid_file = home / "postmaster.pid"
    try:
        first = pid_file.read_text().split("\n", 1)[0]
    except FileNotFoundError:
        return None
    process = look(int(first)) if first.isdigit() else None
    if process is not None and process.names(home) and "postgres" in process.command:
        return process.pid
    if first.isdigit():
        # Backends of a killed server are no matter: their shared memory, which PostgreSQL
        # finds by the directory's inode, keeps the next one from starting too early.
        pid_file.unlink(missing_ok=True)
    return None
