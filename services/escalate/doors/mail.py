"""A mail as a report: pure. Who may write is told by the key in the address that it came to, or by
its sender where our own mail server says that it is theirs (RFC 8601)."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import getaddresses
from html.parser import HTMLParser

from services.escalate.doors.alert import Alert

__all__ = ["File", "MailError", "ReadMail", "read_mail"]

LONGEST = 20_000
MOST_FILES = 8
MOST_ADDRESSES = 100
_COMMENT = re.compile(r"\([^()]*\)")
_PLUS = re.compile(r"\+([^+@]{8,200})@")


class MailError(Exception):
    """It is no mail that could be read."""


@dataclass(frozen=True, slots=True)
class File:
    """Something attached to a mail."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class ReadMail:
    """What a mail tells; *keys* are those that stand in its recipients' addresses.

    *verified*: the sender's domain has sent it. *left_out*: files that are too many or too large.
    """

    sender: str
    keys: tuple[str, ...]
    alert: Alert
    verified: bool = False
    files: tuple[File, ...] = ()
    left_out: tuple[str, ...] = ()


def read_mail(raw: bytes, authserv: str | None = None, largest: int = 5 << 20) -> ReadMail:
    """Return what *raw* tells; MailError if it cannot be read.

    The same Message-ID is the same mail, however often it is delivered. *authserv*: the name by
    which our own mail server signs its Authentication-Results; *largest*: bytes of one file.
    """
    try:
        message = message_from_bytes(raw, policy=policy.default)
        if not isinstance(message, EmailMessage):
            raise MailError("it is no mail")
        subject = str(message.get("Subject", "")).strip() or "(no subject)"
        sender = next((a for _, a in getaddresses([str(message.get("From", ""))]) if a), "")
        text = _text(message)
        keys = tuple(_keys(message))
        identity = str(message.get("Message-ID", "")).strip()
        results = [str(value) for value in message.get_all("Authentication-Results", [])[:1]]
        verified = bool(authserv) and is_verified(results, str(authserv), sender)
        files, left_out = _files(message, largest)
    except (
        ValueError, LookupError, TypeError, AttributeError, IndexError, RecursionError
    ) as error:  # fmt: skip
        # What the parser says of headers that no standard permits.
        raise MailError(f"{type(error).__name__}: {error}") from error
    if not text.strip():
        raise MailError("it has no text")
    alert = Alert("trigger", identity or hashlib.sha256(raw).hexdigest(), subject, text)
    return ReadMail(sender, keys, alert, verified, files, left_out)


def is_verified(results: Sequence[str], authserv: str, sender: str) -> bool:
    """Tell whether the topmost *results* are of *authserv*, and name the sender's domain for it.

    Only DMARC holds the address that people see against who sent it (RFC 7489 §3.1). Our server
    puts its own results on top; what stands below may be the sender's.
    """
    if not results:
        return False
    plain = _COMMENT.sub(" ", results[0])
    if '"' in plain or "(" in plain:  # nothing that we need is ever quoted
        return False
    server, *rest = (part.split() for part in plain.split(";"))
    domain = sender.rpartition("@")[2].lower()
    if not server or server[0].lower() != authserv.lower() or not domain:
        return False
    for words in rest:
        found = dict(word.lower().split("=", 1) for word in words if "=" in word)
        if found.get("dmarc") == "pass" and found.get("header.from") == domain:
            return True
    return False


def _files(message: EmailMessage, largest: int) -> tuple[tuple[File, ...], tuple[str, ...]]:
    """Return what is attached, and what is left out of it with the reason in words."""
    files: list[File] = []
    left_out: list[str] = []
    for number, part in enumerate(message.iter_attachments(), 1):
        if number > 10 * MOST_FILES:
            left_out.append("and more")
            break
        name = str(part.get_filename() or f"part-{number}")
        payload = part.get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else part.as_bytes()
        if len(content) > largest:
            left_out.append(f"{name} ({len(content)} bytes)")
        elif len(files) >= MOST_FILES:
            left_out.append(f"{name} (more than {MOST_FILES} files)")
        elif content:
            files.append(File(name, content))
    return tuple(files), tuple(left_out)


def _text(message: EmailMessage) -> str:
    body = message.get_body(("plain", "html"))
    if body is None:
        return ""
    content = body.get_content()
    text = content if isinstance(content, str) else ""
    if body.get_content_subtype() == "html":
        parser = _Words()
        parser.feed(text[: 10 * LONGEST])
        text = "\n".join(filter(None, (line.strip() for line in parser.words)))
    text = text.replace("\x00", "\ufffd").replace("\r\n", "\n")
    return text.encode("utf-8", "replace").decode()[:LONGEST]


def _keys(message: EmailMessage) -> Iterator[str]:
    headers = ("Delivered-To", "X-Original-To", "To", "Cc")
    values = [str(v) for name in headers for v in message.get_all(name, [])]
    for _, address in getaddresses(values)[:MOST_ADDRESSES]:
        yield from _PLUS.findall(address)


class _Words(HTMLParser):
    """The words of a page, without what is not shown."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)
