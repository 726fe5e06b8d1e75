"""Where PostgreSQL's data lie: beside the rest, or in a spare place that the server can reach.

Only root ever needs the spare place: the server then runs as another user, who cannot pass
through, say, a home with mode 0700. Handing the server an open directory does not help, since
PostgreSQL makes its path absolute and enters it again; and /var/tmp would do only until the
system's cleaner removes what was not read for 30 days. So the data go to /var/lib/tocsin, where
nobody but root can create a name, and `<data_dir>.location` says so.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from tocsin.embedded.errors import PlatformError
from tocsin.embedded.server_user import ServerUser, reachable
from tocsin.embedded.spare import own_folder


def place(data_dir: Path, user: ServerUser | None, spare: Path, say: Callable[[str], None]) -> Path:
    """Return the directory that holds (or will hold) the data of `data_dir`."""
    pointer = data_dir.with_name(data_dir.name + ".location")
    if pointer.exists():
        return _follow(pointer, data_dir, say)
    if user is None or reachable(data_dir, user):
        return data_dir
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    home = own_folder(spare, "data", name) / data_dir.name
    if not reachable(home, user):
        raise PlatformError(
            f"User {user.name}, as whom PostgreSQL runs, can reach neither {data_dir} nor {home}: "
            "choose a data directory that it can reach."
        )
    _point(pointer, data_dir, home)
    say(f"PostgreSQL runs as {user.name}, who cannot reach {data_dir}: its data are in {home}.")
    return home


def _follow(pointer: Path, data_dir: Path, say: Callable[[str], None]) -> Path:
    """Go to the place a pointer names: the data stay where they are, wherever the rest goes."""
    told = json.loads(pointer.read_text())
    home, owner = Path(told["at"]), Path(told["for"])
    if not home.parent.is_dir():
        raise PlatformError(f"The data of {data_dir} were in {home}, which is gone.")
    if owner != data_dir:
        if owner.with_name(pointer.name).exists():
            raise PlatformError(
                f"{data_dir} is a copy of {owner}, and {home} belongs to that one: "
                f"remove {pointer} to begin with empty data."
            )
        _point(pointer, data_dir, home)
    say(f"PostgreSQL's data are in {home}.")
    return home


def _point(pointer: Path, data_dir: Path, home: Path) -> None:
    whole = pointer.with_name(pointer.name + ".new")
    with whole.open("w") as file:
        file.write(json.dumps({"for": str(data_dir), "at": str(home)}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    whole.replace(pointer)
