"""A mailbox of reports, read over IMAP: each mail once, moved away after the commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from prometheus_client import Gauge

from services.escalate.doors.letters import MOST_BYTES, Letters, note_refused
from services.escalate.doors.mail import MailError
from services.escalate.doors.take import TooManyReportsError
from shared.mailbox import ImapSession, MailboxError, MailboxPlace, Waiting

__all__ = ["ImapDoor"]

AT_ONCE = 50
TAKEN, REFUSED = "Taken", "Refused"

log = structlog.get_logger()
_up = Gauge(
    "tocsin_escalate_imap_up", "1 if the mailbox could be read when last looked at", ["host"]
)


class ImapDoor:
    """The work of a reconciler. What was taken moves to the folder Taken, else to Refused.

    A crash between commit and move reads a mail again, which changes nothing: it is known by its
    Message-ID. So it is when several instances read one mailbox.
    """

    def __init__(self, place: MailboxPlace, letters: Letters) -> None:
        self._place, self._letters = place, letters

    async def once(self) -> int:
        """Take up to 50 mails; return how many were moved. A server that is away is asked again."""
        try:
            async with self._session() as session:
                moved = await self._empty(session)
        except MailboxError as error:
            _up.labels(self._place.host).set(0)
            log.warning("mailbox cannot be read", reason=str(error))
            return 0
        _up.labels(self._place.host).set(1)
        return moved

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ImapSession]:
        session = ImapSession(self._place)
        try:
            await asyncio.to_thread(session.open)
            yield session
            await asyncio.to_thread(session.log_out)
        finally:  # cancelled, too: a thread that still waits for the server ends with it
            session.close()

    async def _empty(self, session: ImapSession) -> int:
        moved = 0
        for waiting in await asyncio.to_thread(session.waiting, AT_ONCE):
            try:
                folder = await self._take(session, waiting)
            except TooManyReportsError:  # it stays; what is behind it may be another door's
                log.warning("mail waits: its door tells of too much at once", uid=waiting.uid)
                continue
            await asyncio.to_thread(session.move, waiting.uid, folder)
            moved += 1
        return moved

    async def _take(self, session: ImapSession, waiting: Waiting) -> str:
        """Return the folder that the mail belongs in now."""
        if waiting.size > MOST_BYTES:
            note_refused(MailError(f"{waiting.size} bytes are too many"), uid=waiting.uid)
            return REFUSED
        try:
            raw = await asyncio.to_thread(session.read, waiting.uid, MOST_BYTES)
            if raw is not None:  # else another instance was faster
                await self._letters.take(raw)
        except MailError as refusal:
            note_refused(refusal, uid=waiting.uid)
            return REFUSED
        return TAKEN
