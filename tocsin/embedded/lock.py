"""One `tocsin up` a data directory: an advisory lock that dies with its holder."""

import json
import os
from pathlib import Path
from types import TracebackType

from tocsin.embedded.errors import PlatformError
from tocsin.embedded.pids import look

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows, where the embedded platform does not run
    fcntl = None  # type: ignore[assignment]


class DirectoryLock:
    """An exclusive lock on `<root>/lock`, released by the system even after kill -9."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock, or refuse with a sentence that names who holds it."""
        if fcntl is None:
            raise PlatformError("The embedded platform runs on Linux and macOS only.")
        fd = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(fd)
            os.close(fd)
            raise PlatformError(
                f"{self._root} is in use by another Tocsin ({holder}): stop that one first."
            ) from None
        me = look(os.getpid())
        os.ftruncate(fd, 0)
        note = {"pid": os.getpid(), "started": me.started if me else ""}
        os.pwrite(fd, json.dumps(note).encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Give the lock back; the file stays, since removing it would split the lock in two."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> "DirectoryLock":
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _holder(fd: int) -> str:
    try:
        return f"pid {json.loads(os.pread(fd, 500, 0))['pid']}"
    except (ValueError, KeyError):
        return "which is just starting"
