"""The unprivileged user that PostgreSQL runs as when Tocsin itself runs as root.

PostgreSQL refuses to run as uid 0, and as a uid that has no name. No user is created here:
an existing one is taken.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from tocsin.embedded.errors import PlatformError

_CANDIDATES = ("tocsin", "nobody", "daemon")


@dataclass(frozen=True, slots=True)
class ServerUser:
    """A user to drop to."""

    uid: int
    gid: int
    name: str


def server_user(data_dir: Path) -> ServerUser | None:
    """Return whom to drop to: None for an ordinary user, who runs the server as oneself.

    Data that exist already belong to someone: that user goes on serving them, so a directory
    made by an ordinary user is still theirs after one start by root.
    """
    if os.geteuid() != 0:
        return None
    if data_dir.exists() and (owner := data_dir.stat()).st_uid != 0:
        return ServerUser(owner.st_uid, owner.st_gid, _name(owner.st_uid))
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return ServerUser(entry.pw_uid, entry.pw_gid, name)
    raise PlatformError(
        "PostgreSQL does not run as root, and there is none of the users "
        f"{', '.join(_CANDIDATES)} to run it as: start Tocsin as an ordinary user."
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def reachable(path: Path, user: ServerUser) -> bool:
    """Can `user` get to `path` through all the directories above it (as far as they exist)?"""
    return all(_may(parent, user, 0o1) for parent in path.parents if parent.exists())


def executable(path: Path, user: ServerUser) -> bool:
    """Can `user` run the program at `path`?"""
    return reachable(path, user) and _may(path, user, 0o5)


def _may(path: Path, user: ServerUser, wanted: int) -> bool:
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == user.uid:
        mode >>= 6
    elif found.st_gid == user.gid:
        mode >>= 3
    return mode & wanted == wanted
