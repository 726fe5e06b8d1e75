"""Mails become reports: once each, by key or by verified sender, with what is attached to them."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.doors.mail import MailError, ReadMail, read_mail
from services.escalate.doors.register import Door, DoorBook
from services.escalate.doors.take import TooManyReportsError, take
from services.escalate.sighting import printable
from services.escalate.support import attachments
from services.escalate.support.case import Attach, Note
from services.escalate.support.desk import Desk
from shared.clock import Clock
from shared.db import is_transient

__all__ = ["MOST_BYTES", "Letters", "note_refused"]

MOST_BYTES = 25 << 20  # of a whole mail; what mail servers commonly pass on

log = structlog.get_logger()
_mails = Counter("tocsin_escalate_mails_total", "Mails read as reports", ["fate"])


def note_refused(reason: MailError, **which: object) -> None:
    """Say in the log and the metrics that a mail, *which* one, is no report."""
    _mails.labels("refused").inc()
    log.warning("mail refused", reason=str(reason), **which)


class Letters:
    """Takes mails, wherever they lie. *authserv*: our own server's name in what it verified."""

    def __init__(
        self,
        engine: AsyncEngine,
        desk: Desk,
        doors: DoorBook,
        clock: Clock,
        on_report: Callable[[], None],
        authserv: str | None = None,
    ) -> None:
        self._engine, self._desk, self._doors = engine, desk, doors
        self._clock, self._on_report, self._authserv = clock, on_report, authserv

    async def take(self, raw: bytes) -> None:
        """Make a report of *raw*, committed on return; one that was taken before changes nothing.

        MailError for what is no report, TooManyReportsError if it is to come again later.
        """
        try:
            mail = await asyncio.to_thread(
                read_mail, raw, self._authserv, attachments.MAX_BYTES
            )  # fmt: skip
            door = self._door(mail)
            async with self._engine.begin() as connection:
                await self._report(connection, mail, door, raw)
        except (TooManyReportsError, MailError):
            raise
        except Exception as error:
            if is_transient(error):
                raise
            # Whatever it is, the mails behind it are not to wait for it.
            log.exception("mail cannot be taken")
            raise MailError(f"{type(error).__name__} while it was taken") from error
        _mails.labels("taken").inc()
        self._on_report()

    def _door(self, mail: ReadMail) -> Door:
        doors = self._doors.current
        for key in mail.keys:
            if door := doors.door("mail", key) or doors.door("mail", key.lower()):
                return door
        known = doors.door_of(mail.sender)
        if known is None:
            raise MailError(
                "no address that it came to has the key of a door, nor is its sender one"
            )
        if not mail.verified:
            raise MailError(f"it is not verified that {mail.sender[:200]} has sent it")
        return known

    async def _report(
        self, connection: AsyncConnection, mail: ReadMail, door: Door, raw: bytes
    ) -> None:
        now = self._clock()
        # Unless it is verified, anybody can write any sender: it is what the mail claims.
        reporter = f"mail:{mail.sender[:200]}"
        case_id = await take(connection, self._desk, door, mail.alert, now, reporter)
        if case_id is None:
            return
        left_out = list(mail.left_out)
        if len(raw) <= attachments.MAX_BYTES:
            await self._attach(connection, case_id, "message.eml", raw, reporter)
        else:
            left_out.append(f"the mail itself ({len(raw)} bytes)")
        for file in mail.files:
            await self._attach(connection, case_id, file.name, file.content, reporter)
        if left_out:
            words = printable("; ".join(left_out), 2_000)
            note = Note(text=f"Not kept, look into the mailbox for it: {words}.")
            await self._desk.do(connection, case_id, note, reporter, now)

    async def _attach(
        self, connection: AsyncConnection, case_id: UUID, name: str, content: bytes, by: str
    ) -> None:
        digest = await attachments.keep(connection, content)
        file = Attach(digest=digest, name=attachments.display_name(name), size=len(content))
        await self._desk.do(connection, case_id, file, by, self._clock(), f"file:{digest}")
