"""A child's output: appended to its log file, rotated, its last line at hand."""

import contextlib
from pathlib import Path
from typing import IO

from tocsin.embedded.process import LOG_LIMIT, open_log

_REMEMBERED = 4096


class ChildLog:
    """An append-only log file of limited length, with one older file beside it."""

    def __init__(self, path: Path, *, limit: int = LOG_LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._file: IO[bytes] | None = None
        self._recent = b""

    def write(self, data: bytes) -> None:
        """Append output; a full disk loses log lines, never the child."""
        self._recent = (self._recent + data)[-_REMEMBERED:]
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = open_log(self.path, limit=self._limit)
            self._file.write(data)
            self._file.flush()
            if self._file.tell() > self._limit:
                self.close()  # the next write opens the log again, which puts this one aside

    def begin(self) -> None:
        """Forget the last line: another run of the child begins."""
        self._recent = b""

    @property
    def last_line(self) -> str:
        """The last line of this run that is not blank, else an empty text."""
        lines = self._recent.decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
