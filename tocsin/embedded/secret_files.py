"""Secrets of one data directory: generated once, one file each, readable for the owner only."""

import os
import re
import secrets
from pathlib import Path


class SecretFiles:
    """A directory (0700) of secret files (0600)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> str:
        """Return a secret, making a random one (256 bits) the first time it is asked for."""
        path = self.path(name)
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            return self.put(name, secrets.token_urlsafe(32))

    def put(self, name: str, value: str) -> str:
        """Store a secret: the file is there whole or not at all, whatever crashes."""
        path = self.path(name)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = path.with_name(f".{name}.new")
        whole.unlink(missing_ok=True)
        fd = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(value + "\n")
            file.flush()
            os.fsync(fd)
        whole.replace(path)
        sync_folder(self.folder)
        return value

    def path(self, name: str) -> Path:
        """Return the file of a secret, for settings that end in `_FILE`."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
            raise ValueError(f"{name!r} is no name for a secret")
        return self.folder / name


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
