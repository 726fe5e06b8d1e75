"""Notices by e-mail: fixed Message-ID, STARTTLS or TLS, the server's reply for each recipient."""

import asyncio
import contextlib
import ssl
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException, SMTPResponseException

from services.notify.bounces import return_path
from services.notify.channel import DeliveryError, Notification, Proof
from services.notify.settings import Settings

__all__ = ["EmailChannel", "mail"]

# 7 bit, as not every server on the way offers 8BITMIME.
_POLICY = SMTP_POLICY.clone(cte_type="7bit")
TIMEOUT = 10.0  # of one command
TOTAL = 40.0  # of one attempt: less than the shortest lease


def mail(notification: Notification, sender: str) -> EmailMessage:
    """Return the message, the same bytes at every attempt, so that a copy is known for one."""
    message = EmailMessage(policy=_POLICY)
    domain = sender.rpartition("@")[2].strip("> ") or "localhost"
    message["From"] = sender
    message["To"] = ", ".join(notification.recipients)
    message["Subject"] = " ".join(notification.subject.split())
    message["Date"] = format_datetime(notification.created_at)
    message["Message-ID"] = f"<{notification.id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message.set_content(notification.text)
    return message


class EmailChannel:
    """Hands a notice to the operator's mail server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        ca_file = settings.smtp_ca_file
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    async def send(self, notification: Notification) -> Proof:
        """Return the proof once every recipient not refused for good was accepted."""
        if self._settings.smtp_host is None:
            raise DeliveryError("smtp_host is not set", retryable=True)
        done = {*notification.accepted, *notification.refused}
        waiting = [r for r in notification.recipients if r not in done]
        client = self._client()
        begun = False  # the mail; what fails before that is not about it
        try:
            async with asyncio.timeout(TOTAL):
                await client.connect()
                message = mail(notification, self._settings.sender)
                await client.mail(self._return_path(notification, message))
                begun = True
                proof = await self._deliver(client, notification, message, waiting)
            # Taken is taken: a server that is slow to say goodbye changes nothing about it.
            with contextlib.suppress(SMTPException, OSError, TimeoutError):
                await asyncio.wait_for(client.quit(), 2)
            return proof
        except SMTPResponseException as error:
            # A wrong password or a refused STARTTLS is the operator's to mend, not the tenant's.
            raise DeliveryError(_reply(error), retryable=True, relay_down=not begun) from error
        except (SMTPException, OSError, TimeoutError) as error:
            raise DeliveryError(
                f"{type(error).__name__}: {error or 'no answer in time'}",
                retryable=True,
                relay_down=not begun,
            ) from error
        finally:
            client.close()

    def _client(self) -> SMTP:
        settings = self._settings
        password = settings.smtp_password
        return SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            use_tls=settings.smtp_security == "tls",
            start_tls=settings.smtp_security == "starttls",
            tls_context=None if settings.smtp_security == "none" else self._tls,
            username=settings.smtp_user,
            password=password.get_secret_value() if password else None,
            timeout=TIMEOUT,
        )

    def _return_path(self, notification: Notification, message: EmailMessage) -> str:
        back = self._settings.bounce_address
        sender: str = message["From"].addresses[0].addr_spec
        return return_path(back, notification.id) if back else sender

    async def _deliver(
        self,
        client: SMTP,
        notification: Notification,
        message: EmailMessage,
        waiting: list[str],
    ) -> Proof:
        taken: list[str] = []
        refused: dict[str, str] = {}
        deferred: dict[str, str] = {}
        for recipient in waiting:
            try:
                await client.rcpt(recipient)
            except SMTPResponseException as error:
                (refused if error.code >= 500 else deferred)[recipient] = _reply(error)
            else:
                taken.append(recipient)
        accepted: dict[str, str] = {}
        if taken:
            try:
                done = await client.data(bytes(message))
            except SMTPResponseException as error:
                # The mail as a whole: as final, or as passing, as for each that was asked for.
                fate = refused if error.code >= 500 else deferred
                fate |= dict.fromkeys(taken, _reply(error))
            else:
                accepted = dict.fromkeys(taken, f"{done.code} {done.message}")
        replies = accepted | refused | deferred
        if deferred or not (accepted or notification.accepted):
            raise DeliveryError(
                "; ".join(f"{to}: {reply}" for to, reply in replies.items()) or "nobody is left",
                retryable=bool(deferred),
                recipients=replies,
                accepted=accepted,
                refused=refused,
            )
        answer = next(iter(accepted.values()), "accepted earlier")
        return Proof(f"Message-ID {message['Message-ID']}; {answer}", replies, refused)


def _reply(error: SMTPResponseException) -> str:
    return f"{error.code} {error.message}"
