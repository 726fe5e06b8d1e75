"""The e-mail notice is the same bytes at every attempt, with the notification's id in it."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.notify.channel import Notification
from services.notify.email import mail

pytestmark = pytest.mark.unit


def notification(subject: str = "Notice", text: str = "Grüße\n.\n") -> Notification:
    return Notification(
        id=UUID(int=7),
        incident_id=UUID(int=8),
        tenant="contoso",
        recipients=["a@x.example", "b@x.example"],
        subject=subject,
        text=text,
        body="{}",
        created_at=datetime(2026, 5, 1, tzinfo=UTC),
    )


def test_every_attempt_is_the_same_message() -> None:
    first, second = (bytes(mail(notification(), "S <security@op.example>")) for _ in "12")
    assert first == second
    assert first.isascii()  # not every server on the way has 8BITMIME
    message = mail(notification(), "S <security@op.example>")
    assert message["Message-ID"] == f"<{UUID(int=7)}@op.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"] == "Fri, 01 May 2026 00:00:00 +0000"


def test_a_subject_injects_no_header() -> None:
    message = mail(notification("x\r\nBcc: evil@x.example"), "s@op.example")
    assert message["Bcc"] is None
    assert message["Subject"] == "x Bcc: evil@x.example"
