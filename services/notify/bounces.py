"""Pure: which mail did not reach whom, and why: by a status notification (RFC 3464) or a refusal.

The mail is known by its return path, which carries the notification's id (VERP), and failing that
by the Message-ID of the returned headers. What is no status notification says nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from typing import Literal
from uuid import UUID

__all__ = ["Bounce", "bounces", "expired", "refusal", "return_path"]

MAX_RECIPIENTS = 100
_VERP = re.compile(r"\+([0-9a-f]{32})@", re.ASCII | re.IGNORECASE)
_ID = re.compile(
    r"<([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})@", re.ASCII | re.IGNORECASE
)
_STATUS = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b", re.ASCII)  # RFC 3463
# Where a mail server writes whom a mail was for, once the envelope is gone.
_ENVELOPE = ("To", "Delivered-To", "X-Original-To")
_ACTIONS = frozenset({"failed", "delayed"})  # delivered, relayed and expanded are no bounce


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """One recipient that a mail did not reach (``failed``), or has not yet (``delayed``)."""

    notification_id: UUID
    recipient: str
    action: str
    status: str
    diagnostic: str
    source: Literal["report", "refusal", "expired"] = "report"
    """Who told us: a report that came back, our mail server's answer, or our own patience."""


def refusal(notification_id: UUID, recipient: str, reply: str) -> Bounce:
    """Return that the mail server will never take the mail for *recipient*, by its *reply*."""
    return _given_up(notification_id, recipient, reply, "5.0.0", "refusal")


def expired(notification_id: UUID, recipient: str, reply: str) -> Bounce:
    """Return that *recipient* was tried for as long as we try; *reply* was the last answer."""
    return _given_up(notification_id, recipient, reply, "4.4.7", "expired")


def _given_up(
    notification_id: UUID,
    recipient: str,
    reply: str,
    status: str,
    source: Literal["refusal", "expired"],
) -> Bounce:
    stated = _STATUS.search(reply) if source == "refusal" else None
    return Bounce(
        notification_id=notification_id,
        recipient=recipient,
        action="failed",
        status=stated[0] if stated else status,
        diagnostic=_words(f"smtp; {reply}", 500),
        source=source,
    )


def return_path(address: str, notification_id: UUID) -> str:
    """Return the envelope's sender of one notification: *address*, with the id in it."""
    local, _, domain = address.rpartition("@")
    return f"{local}+{notification_id.hex}@{domain}"


def bounces(raw: bytes, recipients: Iterable[str] = ()) -> list[Bounce]:
    """Return what *raw*, delivered to *recipients*, says came back; nothing for any other mail."""
    message = message_from_bytes(raw, policy=policy.default)
    if message.get_content_type() != "multipart/report":
        return []
    parts = list(message.walk())
    about = _named(recipients, message, parts)
    status = next((p for p in parts if p.get_content_type() == "message/delivery-status"), None)
    if about is None or status is None:
        return []
    found = []
    # The first block is about the message, each further one about a recipient (RFC 3464, 2.1).
    for block in _blocks(status)[1 : MAX_RECIPIENTS + 1]:
        action = str(block.get("Action", "")).strip().lower()
        recipient = _address(block.get("Original-Recipient") or block.get("Final-Recipient"))
        if action in _ACTIONS and recipient:
            found.append(
                Bounce(
                    notification_id=about,
                    recipient=recipient,
                    action=action,
                    status=_words(block.get("Status"), 20),
                    diagnostic=_words(block.get("Diagnostic-Code"), 500),
                )
            )
    return found


def _named(
    recipients: Iterable[str], message: EmailMessage | Message, parts: Sequence[Message]
) -> UUID | None:
    told = (str(value) for name in _ENVELOPE for value in message.get_all(name, ()))
    for address in (*recipients, *told):
        if match := _VERP.search(address):
            return UUID(match[1])
    for part in parts:
        kind = part.get_content_type()
        if kind == "message/rfc822":
            headers = next((str(m.get("Message-ID", "")) for m in _blocks(part)), "")
        elif kind == "text/rfc822-headers":
            headers = "".join(
                line
                for line in str(part.get_payload()).splitlines()
                if line.lower().startswith("message-id:")
            )
        else:
            continue
        if match := _ID.search(headers):
            return UUID(match[1])
    return None


def _blocks(status: Message) -> list[Message]:
    payload = status.get_payload()
    return [b for b in payload if isinstance(b, Message)] if isinstance(payload, list) else []


def _address(field: object) -> str:
    """Return the address in ``rfc822; someone@example``."""
    return str(field or "").partition(";")[2].strip().strip("<>")


def _words(field: object, limit: int) -> str:
    kept = "".join(c if c.isprintable() else " " for c in str(field or ""))
    return " ".join(kept.split())[:limit]
