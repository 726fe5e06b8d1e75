"""The spare place on the system's disk, for what the server's user could not reach elsewhere."""

import os
import stat
from pathlib import Path

from tocsin.embedded.errors import PlatformError

SPARE = Path("/var/lib/tocsin")


def own_folder(spare: Path, *names: str) -> Path:
    """Make `spare/names…`, each 0711 and ours; refuse one that somebody else could write to."""
    folder = spare
    for each in (spare, *(spare.joinpath(*names[: i + 1]) for i in range(len(names)))):
        folder = each
        try:
            folder.mkdir()
        except FileExistsError:
            pass
        except OSError as error:
            raise PlatformError(f"{folder} cannot be made: {error.strerror}.") from error
        else:
            folder.chmod(0o711)  # whatever the umask is
        # lstat: a symbolic link that somebody prepared is not followed.
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if not ours or found.st_mode & 0o022:
            raise PlatformError(f"{folder} is not a directory of our own, so nothing is put there.")
    return folder
