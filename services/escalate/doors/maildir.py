"""A Maildir that a mail server delivers to: what is in `new` becomes reports, once each."""

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.doors.mail import MailError, ReadMail, read_mail
from services.escalate.doors.register import Door, DoorBook
from services.escalate.doors.take import TooManyReportsError, take
from services.escalate.support import attachments
from services.escalate.support.case import Attach
from services.escalate.support.desk import Desk
from shared.clock import Clock

__all__ = ["Maildir"]

AT_ONCE = 50
log = structlog.get_logger()


class Maildir:
    """The work of a reconciler. What was taken moves to `cur`, what cannot be to `refused`.

    A mail moves after the commit: a crash in between reads it again, which changes nothing.
    """

    def __init__(
        self,
        folder: Path,
        engine: AsyncEngine,
        desk: Desk,
        doors: DoorBook,
        clock: Clock,
        on_report: Callable[[], None],
    ) -> None:
        self._folder, self._engine, self._desk = folder, engine, desk
        self._doors, self._clock, self._on_report = doors, clock, on_report

    async def once(self) -> int:
        """Take up to 50 mails; return how many were moved."""
        names = await asyncio.to_thread(self._names)
        for done, name in enumerate(names):
            try:
                raw = await asyncio.to_thread(_read, self._folder / "new" / name)
                mail = await asyncio.to_thread(read_mail, raw)
                await self._take(mail, self._door(mail), raw)
            except MailError as refusal:
                log.warning("mail refused", name=name, reason=str(refusal))
                await asyncio.to_thread(self._move, name, "refused", "")
            except TooManyReportsError:
                log.warning("mail waits: its door tells of too much at once", name=name)
                return done
            else:
                await asyncio.to_thread(self._move, name, "cur", ":2,S")
        return len(names)

    def _door(self, mail: ReadMail) -> Door:
        for key in mail.keys:
            doors = self._doors.current
            if door := doors.door("mail", key) or doors.door("mail", key.lower()):
                return door
        raise MailError("no address that it came to has the key of a door")

    async def _take(self, mail: ReadMail, door: Door, raw: bytes) -> None:
        async with self._engine.begin() as connection:
            await self._report(connection, mail, door, raw)
        self._on_report()

    async def _report(
        self, connection: AsyncConnection, mail: ReadMail, door: Door, raw: bytes
    ) -> None:
        now = self._clock()
        # Anybody can write any sender, so it is what the mail claims and no more.
        reporter = f"mail:{mail.sender[:200]}"
        case_id = await take(connection, self._desk, door, mail.alert, now, reporter)
        if case_id is None:
            return
        digest = await attachments.keep(connection, raw)
        original = Attach(digest=digest, name="message.eml", size=len(raw))
        await self._desk.do(connection, case_id, original, reporter, now)

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
        if found.st_size > attachments.MAX_BYTES:
            raise MailError(f"it is larger than {attachments.MAX_BYTES} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(attachments.MAX_BYTES)
    finally:
        os.close(descriptor)
