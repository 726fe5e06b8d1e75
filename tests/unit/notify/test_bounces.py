"""Delivery status notifications of RFC 3464, and mail that is none."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.bounces import bounces, return_path

pytestmark = pytest.mark.unit

ID = UUID("6d9aa5a4-1111-5222-8333-444455556666")


def dsn(block: str, returned: str = "") -> bytes:
    """Return a report in the form of RFC 3464, appendix E."""
    return f"""From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example>
To: <bounces@op.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b/mx"

--b/mx

The following address failed.
--b/mx
content-type: message/delivery-status

Reporting-MTA: dns; mx.example

{block}
--b/mx
{returned}
--b/mx--
""".replace("\n", "\r\n").encode()


FAILED = """Final-Recipient: RFC822; soc@delta.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no
 such user
"""
HEADERS = f"content-type: text/rfc822-headers\n\nMessage-ID: <{ID}@op.example>\nSubject: x\n"
WHOLE = f"content-type: message/rfc822\n\nMessage-ID: <{ID}@op.example>\nSubject: x\n\nDear\n"


@pytest.mark.parametrize(
    ("returned", "to"),
    [("", [return_path("bounces@op.example", ID)]), (HEADERS, []), (WHOLE, [])],
)
def test_a_failed_recipient_is_known_by_return_path_or_message_id(
    returned: str, to: list[str]
) -> None:
    (found,) = bounces(dsn(FAILED, returned), to)
    assert (found.notification_id, found.recipient, found.action, found.status) == (
        ID,
        "soc@delta.example",
        "failed",
        "5.1.1",
    )
    assert found.diagnostic == "smtp; 550 5.1.1 no such user"


def test_each_recipient_is_told_and_only_what_did_not_arrive() -> None:
    second = FAILED.replace("soc@", "it@").replace("failed", "delayed").replace("5.1.1", "4.4.7")
    third = FAILED.replace("soc@", "ok@").replace("failed", "delivered")
    found = bounces(dsn("\n".join([FAILED, second, third]), HEADERS))
    assert [(b.recipient, b.action) for b in found] == [
        ("soc@delta.example", "failed"),
        ("it@delta.example", "delayed"),
    ]


def test_the_original_recipient_counts_where_mail_was_forwarded() -> None:
    forwarded = "Original-Recipient: rfc822;soc@delta.example\n" + FAILED.replace("soc@", "inner@")
    (found,) = bounces(dsn(forwarded, HEADERS))
    assert found.recipient == "soc@delta.example"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Subject: out of office\r\n\r\nback on Monday\r\n",
        dsn(FAILED),  # of nothing that can be named
        dsn("Action: failed\n", HEADERS),  # of nobody
        dsn(FAILED, HEADERS).replace(b"message/delivery-status", b"text/plain"),
        dsn(FAILED, HEADERS)[:200],
    ],
)
def test_what_is_no_report_says_nothing(raw: bytes) -> None:
    assert bounces(raw) == []


@given(st.binary(max_size=2000), st.integers(0, 600))
def test_no_bytes_are_an_error(noise: bytes, at: int) -> None:
    whole = dsn(FAILED, HEADERS)
    bounces(noise)
    bounces(whole[:at] + noise + whole[at:])
