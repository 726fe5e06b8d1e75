"""A mailbox of reports on a real IMAP server: each mail is one report, with what is attached."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from pydantic import SecretStr

from services.escalate.app import create_app
from services.escalate.doors.imap import ImapDoor
from services.escalate.doors.letters import MOST_BYTES, Letters
from services.escalate.settings import Settings, mailbox_of
from shared.mailbox import ImapSession, MailboxError, MailboxPlace
from shared.settings import SettingsError
from tests.support.report_mailbox import ImapServer, imap_server
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import DIRECTORY

pytestmark = pytest.mark.integration
KEY = "0123456789abcdef"
OURS = "mx.tocsin.example"


def mail(subject: str, *, key: str = "", dmarc: str = "", files: int = 0) -> bytes:
    message = EmailMessage()
    if dmarc:
        message["Authentication-Results"] = f"{OURS}; dmarc={dmarc} header.from=acme.example"
    message["From"] = "Carla <carla@acme.example>"
    message["To"] = f"security{'+' if key else ''}{key}@tocsin.example"
    message["Subject"] = subject
    message["Message-ID"] = f"<{hashlib.sha256(subject.encode()).hexdigest()[:20]}@acme.example>"
    message.set_content(f"What happened: {subject}.")
    for n in range(files):
        message.add_attachment(b"x" * (n + 1), maintype="text", subtype="x", filename=f"{n}.log")
    return message.as_bytes()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[ImapServer]:
    async with imap_server() as found:
        yield found


def place(server: ImapServer, **more: Any) -> dict[str, Any]:
    return {
        "imap_host": "127.0.0.1", "imap_port": server.port, "imap_security": "none",
        "imap_user": server.user, "imap_password": SecretStr(server.password), **more,
    }  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def escalate(
    world: World, server: ImapServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("imap")
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    doors = {
        "staff": {"kind": "mail", "source_kind": "employee_report", "key_sha256": digest},
        "acme": {
            "kind": "mail", "source_kind": "customer_case", "tenant": "acme",
            "senders": ["acme.example"],
        },
    }  # fmt: skip
    (folder / "doors.yml").write_text(json.dumps({"doors": doors}))
    (folder / "directory.yml").write_text(DIRECTORY)
    settings = world.settings(
        Settings,
        doors_file=folder / "doors.yml",
        directory_file=folder / "directory.yml",
        mail_authserv_id=OURS,
        **place(server, imap_seconds=1.0),
    )
    async with world.running(create_app(settings)) as client:
        token = world.token("iris", "incident_communications")
        client.headers["authorization"] = f"Bearer {token}"
        yield client


def reports(escalate: httpx.AsyncClient, title: str) -> Callable[[], Any]:
    async def look() -> list[dict[str, Any]]:
        items = (await escalate.get("/v1/support-cases?limit=200")).json()["items"]
        return [item for item in items if item["title"] == title]

    return look


def moved(server: ImapServer, folder: str, subject: str, times: int = 1) -> Callable[[], Any]:
    async def look() -> bool:
        found = [raw for raw in await server.folder(folder) if subject.encode() in raw]
        return len(found) == times

    return look


async def test_a_mail_by_key_is_one_report_with_its_files_however_often_it_comes(
    server: ImapServer, escalate: httpx.AsyncClient
) -> None:
    raw = mail("Odd sign-ins", key=KEY, files=2)
    for _ in range(2):
        await server.deliver(raw)
    await until(moved(server, "Taken", "Subject: Odd sign-ins", 2))
    (item,) = await reports(escalate, "Odd sign-ins")()
    assert item["source_kind"] == "employee_report"
    case = (await escalate.get(f"/v1/support-cases/{item['case_id']}")).json()
    assert case["statement"].strip() == "What happened: Odd sign-ins."
    files = [entry["data"] for entry in case["log"] if entry["kind"] == "attached"]
    assert [(f["name"], f["size"]) for f in files[1:]] == [("0.log", 1), ("1.log", 2)]
    assert files[0]["name"] == "message.eml"
    kept = await escalate.get(
        f"/v1/support-cases/{item['case_id']}/attachments/{files[1]['digest']}"
    )
    assert kept.content == b"x"
    assert await server.folder("INBOX") == []


async def test_a_verified_sender_opens_their_tenants_case_and_an_unverified_one_opens_none(
    world: World, server: ImapServer, escalate: httpx.AsyncClient
) -> None:
    await server.deliver(mail("Forged by somebody", dmarc="fail"))
    await server.deliver(mail("Claimed by nobody"))
    await server.deliver(mail("Really of acme", dmarc="pass"))
    await until(moved(server, "Taken", "Subject: Really of acme"))
    (item,) = await reports(escalate, "Really of acme")()
    assert (item["tenant"], item["source_kind"]) == ("acme", "customer_case")
    carla = {"authorization": f"Bearer {world.token('c', 'customer_contact', tenant='acme')}"}
    own = await escalate.get(f"/v1/support-cases/{item['case_id']}", headers=carla)
    assert own.status_code == 200
    for title in ("Forged by somebody", "Claimed by nobody"):
        await until(moved(server, "Refused", f"Subject: {title}"))
        assert await reports(escalate, title)() == []


async def test_files_that_are_too_large_are_named_and_mails_that_are_stay_out(
    server: ImapServer, escalate: httpx.AsyncClient
) -> None:
    message = EmailMessage()
    message["From"], message["Subject"] = "e@tocsin.example", "With a large file"
    message["To"] = f"security+{KEY}@tocsin.example"
    message.set_content("See the file.")
    message.add_attachment(
        b"x" * (6 << 20), maintype="application", subtype="zip", filename="disk.zip"
    )
    await server.deliver(message.as_bytes())
    await server.deliver(mail("Too large altogether", key=KEY) + b"x" * MOST_BYTES)
    (item,) = await until(reports(escalate, "With a large file"))
    case = (await escalate.get(f"/v1/support-cases/{item['case_id']}")).json()
    (note,) = [entry["text"] for entry in case["log"] if entry["kind"] == "note"]
    assert "disk.zip (6291456 bytes); the mail itself (" in note
    await until(moved(server, "Refused", "Subject: Too large altogether"))


def session_of(server: ImapServer, **more: Any) -> ImapSession:
    values: dict[str, Any] = {
        "host": "127.0.0.1", "port": server.port, "security": "none", "user": server.user,
        "password": server.password, **more,
    }  # fmt: skip
    return ImapSession(MailboxPlace(**values))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"folder": "No such"}, "refuses"),
        ({"folder": "a\r\nb"}, "printable"),
        ({"security": "starttls"}, "TLS"),
        ({"port": 1}, "refused"),
        ({"password": "wrong"}, "credentials"),
    ],
)
async def test_a_mailbox_that_cannot_be_read_says_why(
    server: ImapServer, more: dict[str, Any], why: str
) -> None:
    def enter() -> None:
        with session_of(server, **more):
            raise AssertionError("it was opened")

    with pytest.raises(MailboxError, match=why):
        await asyncio.to_thread(enter)


async def test_a_mailbox_that_is_away_shows_in_the_metric_of_its_alert() -> None:
    place = MailboxPlace(host="127.0.0.1", port=1, security="none", user="u", password="p")
    assert await ImapDoor(place, cast(Letters, None)).once() == 0
    assert REGISTRY.get_sample_value("tocsin_escalate_imap_up", {"host": "127.0.0.1"}) == 0


def test_a_mailbox_without_a_reader_ends_the_boot() -> None:
    with pytest.raises(SettingsError, match="TOCSIN_ESCALATE_IMAP_USER is not set"):
        mailbox_of(Settings(imap_host="imap.example"))
    with pytest.raises(SettingsError, match="TOCSIN_ESCALATE_IMAP_PASSWORD is not set"):
        mailbox_of(Settings(imap_host="imap.example", imap_user="u"))
