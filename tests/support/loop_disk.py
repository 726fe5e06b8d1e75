"""A file system in an image file, and a power cut of it: what was not on the disk is gone.

The cut is ext4's own shutdown (`EXT4_IOC_SHUTDOWN`, the one that xfstests simulates power failures
with): at once and without flushing anything; all later I/O fails until it is mounted again, when
the journal is replayed as after a real one. Dirty pages and the open journal transaction are lost.
The image's own file stays: a disk that lies about its write cache is not simulated.
"""

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["LoopDisk", "loop_disk"]

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH


class LoopDisk:
    """An ext4 image, mounted."""

    def __init__(self, image: Path, at: Path) -> None:
        self._image, self.at = image, at

    def mount(self) -> None:
        """Mount it; the journal commits by itself as late as it may."""
        _run("mount", "-o", "loop,commit=300", str(self._image), str(self.at))

    def cut(self) -> None:
        """Take the power away."""
        descriptor = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Unmount it; nothing may use it any more."""
        _run("umount", str(self.at))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def loop_disk(folder: Path, mebibytes: int) -> Iterator[LoopDisk]:
    """Yield a disk in *folder*, mounted; skips with a sentence where that is not permitted."""
    for tool in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(tool) is None:
            pytest.skip(f"a simulated power cut needs {tool}, which is not installed")
    image, at = folder / "disk.img", folder / "disk"
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    at.mkdir(mode=0o711)
    _run("mkfs.ext4", "-q", "-F", str(image))
    disk = LoopDisk(image, at)
    try:
        disk.mount()
    except OSError as error:
        pytest.skip(f"a simulated power cut needs a loop mount, which is not permitted: {error}")
    try:
        at.chmod(0o711)
        yield disk
    finally:
        disk.unmount()
        image.unlink()
