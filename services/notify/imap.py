"""A mailbox at an IMAP server (RFC 3501), opened to read only. It blocks: call it from a thread."""

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

__all__ = ["Access", "Mailbox", "MailboxError"]

TIMEOUT = 10.0  # of connecting, and of each answer


class MailboxError(OSError):
    """The server could not be asked, or would not answer; it may later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a mailbox is, and as whom it is read."""

    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    user: str
    password: str
    mailbox: str = "INBOX"
    ca_file: Path | None = None

    @property
    def name(self) -> str:
        """What a mailbox is remembered by; another server or user is another mailbox."""
        return f"{self.user}@{self.host}:{self.port}/{self.mailbox}"


class Mailbox:
    """One connection. Every method but `close` raises MailboxError."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._client: IMAPClient | None = None
        ca_file = access.ca_file
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    def open(self) -> int:
        """Log in and open the mailbox; return its UIDVALIDITY.

        The certificate is verified before anything of the login is sent.
        """
        access = self._access
        with _told():
            self._client = IMAPClient(
                access.host,
                access.port,
                ssl=access.security == "tls",
                ssl_context=self._tls if access.security == "tls" else None,
                timeout=TIMEOUT,
            )
            if access.security == "starttls":
                self._client.starttls(self._tls)
            self._client.login(access.user, access.password)
            opened = self._client.select_folder(access.mailbox, readonly=True)
            return int(opened[b"UIDVALIDITY"])

    def after(self, uid: int) -> list[int]:
        """Return the UIDs of the messages behind *uid*, ascending."""
        with _told():
            found = self._opened.search(["UID", f"{uid + 1}:*"])
        # "*" is the last message, even where that lies before *uid* (RFC 3501, 6.4.8).
        return sorted(int(one) for one in found if one > uid)

    def read(self, uid: int, limit: int) -> bytes:
        """Return the first *limit* bytes of a message, unseen; nothing of one that has gone."""
        with _told():
            answer = self._opened.fetch([uid], [f"BODY.PEEK[]<0.{limit}>"])
        return answer.get(uid, {}).get(b"BODY[]<0>") or b""

    def close(self) -> None:
        """End the connection; whoever waits for an answer in another thread is told."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.shutdown()
            self._client = None

    @property
    def _opened(self) -> IMAPClient:
        if self._client is None:
            raise MailboxError("the mailbox is not open")
        return self._client


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except MailboxError:
        raise
    except (IMAPClientError, OSError, ValueError, KeyError, AttributeError) as error:
        # imaplib also fails with the latter ones over what a server must not say.
        raise MailboxError(f"{type(error).__name__}: {error}") from error
