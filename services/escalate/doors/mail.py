"""A mail as a report: pure. Who may write is told by the key in the address it came to."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import getaddresses
from html.parser import HTMLParser

from services.escalate.doors.alert import Alert

__all__ = ["MailError", "ReadMail", "read_mail"]

LONGEST = 20_000
MOST_ADDRESSES = 100
_PLUS = re.compile(r"\+([^+@]{8,200})@")


class MailError(Exception):
    """It is no mail that could be read."""


@dataclass(frozen=True, slots=True)
class ReadMail:
    """What a mail tells; *keys* are those that stand in its recipients' addresses."""

    sender: str
    keys: tuple[str, ...]
    alert: Alert


def read_mail(raw: bytes) -> ReadMail:
    """Return what *raw* tells; MailError if it cannot be read.

    The same Message-ID is the same mail, however often it is delivered.
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
    except (ValueError, LookupError, TypeError, AttributeError, IndexError) as error:
        # What the parser says of headers that no standard permits.
        raise MailError(f"{type(error).__name__}: {error}") from error
    if not text.strip():
        raise MailError("it has no text")
    alert = Alert("trigger", identity or hashlib.sha256(raw).hexdigest(), subject, text)
    return ReadMail(sender, keys, alert)


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
