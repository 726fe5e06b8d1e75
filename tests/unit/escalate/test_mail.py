"""A mail as a report: who verifiably sent it, what is attached to it, what is left out."""

from email.message import EmailMessage

import pytest

from services.escalate.doors.mail import MOST_FILES, MailError, is_verified, read_mail
from services.escalate.doors.register import parse_doors
from services.escalate.file_spots import FileError

pytestmark = pytest.mark.unit
GOOD = "mx.tocsin.example; spf=pass smtp.mailfrom=acme.example; dmarc=pass header.from=acme.example"


@pytest.mark.parametrize(
    ("results", "verified"),
    [
        ([GOOD], True),
        (["MX.Tocsin.example 1; dmarc=pass (p=reject dis=none) header.from=ACME.example"], True),
        ([], False),
        ([GOOD.replace("mx.tocsin", "mx.evil")], False),  # whoever wrote that
        (["mx.evil.example; none", GOOD], False),  # below ours stands what the sender wrote
        ([GOOD.replace("dmarc=pass", "dmarc=fail")], False),
        ([GOOD.replace("header.from=acme", "header.from=evil")], False),
        (["mx.tocsin.example; dkim=pass header.d=acme.example"], False),
        (["mx.tocsin.example; spf=fail (; dmarc=pass header.from=acme.example ()"], False),
        (['mx.tocsin.example; x="; dmarc=pass header.from=acme.example"'], False),
        (["mx.tocsin.example"], False),
        ([";"], False),
    ],
)
def test_only_our_own_servers_word_verifies_a_sender(results: list[str], verified: bool) -> None:
    assert is_verified(results, "mx.tocsin.example", "carla@acme.example") is verified


def with_files(*files: tuple[str, bytes]) -> bytes:
    message = EmailMessage()
    message["From"] = "carla@acme.example"
    message["Subject"] = "Sign-ins"
    message.set_content("See the files.")
    for name, content in files:
        message.add_attachment(content, maintype="application", subtype="x", filename=name)
    return message.as_bytes()


def test_files_are_read_up_to_their_size_and_number() -> None:
    mail = read_mail(with_files(("a.log", b"a" * 10), ("big.bin", b"b" * 11)), largest=10)
    assert [(f.name, f.content) for f in mail.files] == [("a.log", b"a" * 10)]
    assert mail.left_out == ("big.bin (11 bytes)",)
    many = read_mail(with_files(*((f"{n}.log", b"x") for n in range(MOST_FILES + 2))))
    assert len(many.files) == MOST_FILES
    assert many.left_out[-1] == f"{MOST_FILES + 1}.log (more than {MOST_FILES} files)"
    assert many.alert.statement.strip() == "See the files."


def test_a_mail_nested_without_end_is_refused() -> None:
    raw = b"Subject: x\r\n"
    for n in range(3_000):
        raw += b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n)
    with pytest.raises(MailError):
        read_mail(raw)


DOOR = "doors:\n  acme:\n    kind: mail\n    source_kind: customer_case\n    tenant: acme\n"


def test_a_sender_leads_to_its_door_by_address_before_domain() -> None:
    doors = parse_doors(
        DOOR + "    senders: [acme.example]\n"
        "  ceo: {kind: mail, source_kind: partner, senders: [Boss@acme.example]}\n",
        verified=True,
    )
    found = [doors.door_of(who) for who in ("Carla@ACME.example", "boss@acme.example", "a@x.y")]
    assert [door and door.name for door in found] == ["acme", "ceo", None]


@pytest.mark.parametrize(
    ("more", "verified", "line", "reason"),
    [
        ("", True, 3, "key_sha256 is missing"),
        ("    senders: [acme.example]\n", False, 6, "anybody can write any sender"),
        ("    senders: [acme]\n", True, 6, "neither an address nor a domain"),
        ("    senders: [acme.example, ACME.example]\n", True, 6, "is a sender of acme already"),
    ],
)
def test_doors_of_senders_are_refused_with_their_line(
    more: str, verified: bool, line: int, reason: str
) -> None:
    with pytest.raises(FileError, match=reason) as refusal:
        parse_doors(DOOR + more, verified=verified)
    assert refusal.value.line == line


def test_only_mail_has_senders() -> None:
    text = DOOR.replace("kind: mail", "kind: pagerduty") + "    senders: [acme.example]\n"
    with pytest.raises(FileError, match="only mail has senders"):
        parse_doors(text, verified=True)
