"""A Maildir that a mail server delivers to: what is in `new` becomes reports, once each."""

import asyncio
import os
import stat
from pathlib import Path

import structlog

from services.escalate.doors.letters import MOST_BYTES, Letters, note_refused
from services.escalate.doors.mail import MailError
from services.escalate.doors.take import TooManyReportsError

__all__ = ["Maildir"]

AT_ONCE = 50
log = structlog.get_logger()


class Maildir:
    """The work of a reconciler. What was taken moves to `cur`, what cannot be to `refused`.

    A mail moves after the commit: a crash in between reads it again, which changes nothing.
    """

    def __init__(self, folder: Path, letters: Letters) -> None:
        self._folder, self._letters = folder, letters

    async def once(self) -> int:
        """Take up to 50 mails; return how many were moved."""
        names = await asyncio.to_thread(self._names)
        for done, name in enumerate(names):
            try:
                await self._letters.take(
                    await asyncio.to_thread(_read, self._folder / "new" / name)
                )
            except MailError as refusal:
                note_refused(refusal, name=name)
                await asyncio.to_thread(self._move, name, "refused", "")
            except TooManyReportsError:
                log.warning("mail waits: its door tells of too much at once", name=name)
                return done
            else:
                await asyncio.to_thread(self._move, name, "cur", ":2,S")
        return len(names)

    def _names(self) -> list[str]:
        for part in ("new", "cur", "tmp", "refused"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        return sorted(entry.name for entry in os.scandir(self._folder / "new"))[:AT_ONCE]

    def _move(self, name: str, to: str, mark: str) -> None:
        (self._folder / "new" / name).rename(self._folder / to / f"{name}{mark}")


def _read(path: Path) -> bytes:
    """Return what is in *path*; MailError for what is no plain file, or too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise MailError(f"it cannot be opened: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise MailError("it is no file")
        if found.st_size > MOST_BYTES:
            raise MailError(f"it is larger than {MOST_BYTES} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MOST_BYTES)
    finally:
        os.close(descriptor)
