"""A mailbox read over IMAP (RFC 9051): what lies in a folder, oldest first, moved away once taken.

Moved, not marked: whoever looks into the mailbox with a mail program marks messages, too.
"""

import imaplib
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

__all__ = ["ImapSession", "MailboxError", "MailboxPlace", "Waiting"]

TIMEOUT = 15.0  # of one exchange with the server
_UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")


class MailboxError(Exception):
    """The server cannot be reached, does not let us in, or does not do what it was asked."""


@dataclass(frozen=True, slots=True)
class MailboxPlace:
    """Where a mailbox is, and who reads it."""

    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    user: str
    password: str
    folder: str = "INBOX"
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that lies there; *size* in bytes, as the server says."""

    uid: int
    size: int


class ImapSession:
    """One connection with its folder open; it blocks, so it is for a thread.

    Every function raises MailboxError where the server fails or refuses. `close` is for any thread:
    whoever waits for the server in another one is told at once.
    """

    def __init__(self, place: MailboxPlace) -> None:
        self._place = place
        self._client: imaplib.IMAP4 | None = None
        self._closed = False
        self._capabilities: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.log_out()
        self.close()

    def open(self) -> None:
        """Connect, sign in and open the folder; `close` is to follow, whatever comes of it."""
        place = self._place
        with _told(place):
            tls = ssl.create_default_context(cafile=str(place.ca_file) if place.ca_file else None)
            if place.security == "tls":
                client: imaplib.IMAP4 = imaplib.IMAP4_SSL(
                    place.host, place.port, ssl_context=tls, timeout=TIMEOUT
                )
            else:
                client = imaplib.IMAP4(place.host, place.port, timeout=TIMEOUT)
            self._client = client
            if self._closed:  # while it connected
                self.close()
            if place.security == "starttls":
                self._open.starttls(tls)
            self._open.login(_quoted(place.user), place.password)
            # Servers say more of themselves once they know who asks.
            said = b" ".join(part or b"" for part in self._do(self._open.capability))
            self._capabilities = frozenset(said.decode("ascii", "replace").upper().split())
            self._do(self._open.select, _quoted(place.folder))

    def log_out(self) -> None:
        """Say goodbye."""
        with suppress(imaplib.IMAP4.error, OSError, MailboxError):
            self._open.logout()

    def close(self) -> None:
        """Give up the connection at once."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            with suppress(OSError):  # first of all: it wakes who reads from it
                client.sock.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                client.shutdown()

    def waiting(self, most: int) -> Sequence[Waiting]:
        """Return up to *most* messages, those that came first."""
        with _told(self._place):
            (exists,) = self._do(self._open.select, _quoted(self._place.folder))[-1:]
            count = min(int(exists or b"0"), most)
            if count == 0:
                return ()
            rows = self._do(self._open.fetch, f"1:{count}", "(UID RFC822.SIZE)")
        found = []
        for row in rows:
            line = row if isinstance(row, bytes) else b""
            uid, size = _UID.search(line), _SIZE.search(line)
            if uid and size:
                found.append(Waiting(int(uid[1]), int(size[1])))
        return tuple(found)

    def read(self, uid: int, most: int) -> bytes | None:
        """Return the message, of which at most *most* bytes are asked for; None if it is gone."""
        with _told(self._place):
            rows = self._do(self._open.uid, "FETCH", str(uid), f"(BODY.PEEK[]<0.{most}>)")
        parts = [row[1] for row in rows if isinstance(row, tuple)]
        return bytes(parts[0]) if parts else None

    def move(self, uid: int, folder: str) -> None:
        """Move the message to *folder*, made if it is not there; one that is gone stays so."""
        target = _quoted(folder)
        with _told(self._place):
            if self._do(self._open.list, '""', target) in ([None], []):
                self._do(self._open.create, target)
            if "MOVE" in self._capabilities:  # RFC 6851
                self._do(self._open.uid, "MOVE", str(uid), target)
                return
            self._do(self._open.uid, "COPY", str(uid), target)
            self._do(self._open.uid, "STORE", str(uid), "+FLAGS.SILENT", r"(\Deleted)")
            if "UIDPLUS" in self._capabilities:  # RFC 4315: only ours
                self._do(self._open.uid, "EXPUNGE", str(uid))
            else:
                self._do(self._open.expunge)

    @property
    def _open(self) -> imaplib.IMAP4:
        if self._client is None:
            raise MailboxError("the session is not open")
        return self._client

    @staticmethod
    def _do(command: Callable[..., Any], *arguments: str) -> list[Any]:
        status, answer = command(*arguments)
        if status != "OK":
            words = b" ".join(part for part in answer if isinstance(part, bytes))
            raise MailboxError(f"the server refuses: {words.decode(errors='replace')[:200]}")
        return list(answer)


@contextmanager
def _told(place: MailboxPlace) -> Iterator[None]:
    """Turn what imaplib and the network raise into one error that names the server."""
    try:
        yield
    except (imaplib.IMAP4.error, OSError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise MailboxError(f"IMAP {place.host}:{place.port}: {why[:300]}") from error


def _quoted(folder: str) -> str:
    """Return *folder* as a quoted string of the protocol; ValueError where it cannot be one."""
    if not folder.isascii() or not folder.isprintable():
        raise ValueError(f"folder {folder!r} is not printable ASCII")
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
