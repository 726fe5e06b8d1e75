"""Pages by e-mail: the page's id is the Message-ID, so a copy is known for one."""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException

from services.escalate.oncall.channels.message import LinkOf, Message, message_of
from services.escalate.pages import Page
from services.escalate.paging import ChannelError
from shared.clock import Clock

__all__ = ["EmailChannel", "MailServer", "mail"]

_POLICY = SMTP_POLICY.clone(cte_type="7bit")  # not every server on the way offers 8BITMIME
TIMEOUT = 5.0  # of one command
TOTAL = 9.0


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in, and in whose name."""

    host: str | None
    port: int
    security: Literal["starttls", "tls", "none"]
    ca_file: Path | None
    user: str | None
    password: str | None
    sender: str


def mail(message: Message, recipient: str, sender: str) -> EmailMessage:
    """Return the message, the same bytes at every attempt."""
    made = EmailMessage(policy=_POLICY)
    domain = sender.rpartition("@")[2].strip("> ") or "localhost"
    made["From"] = sender
    made["To"] = recipient
    made["Subject"] = " ".join(message.subject.split())
    made["Date"] = format_datetime(message.created_at)
    made["Message-ID"] = f"<{message.id}@{domain}>"
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    made["X-Priority"] = "1"
    made.set_content(message.text)
    return made


class EmailChannel:
    """Hands pages to the operator's mail server."""

    name = "email"

    def __init__(self, server: MailServer, link_of: LinkOf, clock: Clock) -> None:
        self._server, self._link_of, self._clock = server, link_of, clock
        ca_file = server.ca_file
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    def provider(self, page: Page) -> str:
        """Return the mail server, which all mail goes to."""
        return self.name

    async def send(self, page: Page) -> None:
        """Return once the server took it; ChannelError if it did not."""
        server = self._server
        if server.host is None:
            raise ChannelError("smtp_host is not set")
        message = message_of(page, self._link_of, self._clock())
        client = SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=None if server.security == "none" else self._tls,
            username=server.user,
            password=server.password,
            timeout=TIMEOUT,
        )
        try:
            async with asyncio.timeout(TOTAL):
                await client.connect()
                await client.send_message(mail(message, page.recipient, server.sender))
        except (SMTPException, OSError, TimeoutError) as error:
            raise ChannelError(f"{type(error).__name__}: {error or 'no answer in time'}") from error
        else:
            with contextlib.suppress(SMTPException, OSError, TimeoutError):
                await asyncio.wait_for(client.quit(), 0.5)  # taken is taken
        finally:
            client.close()
