"""Mails in a drop folder: one report each, whatever is in them, and by key only."""

import hashlib
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from services.escalate.doors.letters import MOST_BYTES, Letters
from services.escalate.doors.maildir import Maildir
from services.escalate.doors.register import DoorBook, parse_doors
from services.escalate.support.desk import Desk
from shared.clock import utc_now
from tests.support.world import World
from tests.unit.escalate.test_proposal import POLICIES

pytestmark = pytest.mark.integration
KEY = "0123456789abcdef"
DOORS = parse_doors(
    json.dumps(
        {
            "doors": {
                "researchers": {
                    "kind": "mail",
                    "source_kind": "external_researcher",
                    "key_sha256": hashlib.sha256(KEY.encode()).hexdigest(),
                }
            }
        }
    )
)


def mail(subject: str, *, key: str = KEY, text: str = "I found a hole.", html: str = "") -> bytes:
    message = EmailMessage()
    message["From"] = "Rita <rita@research.example>"
    message["To"] = f"security+{key.upper()}@tocsin.example"
    message["Subject"] = subject
    message["Message-ID"] = f"<{subject.replace(' ', '-')}@research.example>"
    if html:
        message.set_content(html, subtype="html")
    else:
        message.set_content(text)
    return message.as_bytes()


@pytest_asyncio.fixture(loop_scope="session")
async def box(world: World, tmp_path: Path) -> AsyncIterator[Maildir]:
    desk = Desk(lambda: POLICIES, "log", timedelta(minutes=15))
    doors = DoorBook(DOORS)
    letters = Letters(world.engine("escalate"), desk, doors, utc_now, lambda: None)
    yield Maildir(tmp_path, letters)


def drop(folder: Path, name: str, raw: bytes) -> None:
    (folder / "new").mkdir(exist_ok=True)
    (folder / "new" / name).write_bytes(raw)


async def found(world: World, escalate: httpx.AsyncClient, title: str) -> list[dict[str, object]]:
    answer = await escalate.get("/v1/support-cases?limit=200")
    return [item for item in answer.json()["items"] if title in item["title"]]


async def test_a_mail_is_a_report_with_its_original(
    world: World, escalate: httpx.AsyncClient, box: Maildir, tmp_path: Path
) -> None:
    raw = mail("A hole in the sign-in")
    drop(tmp_path, "1", raw)
    drop(tmp_path, "2", raw)  # delivered twice
    assert await box.once() == 2
    assert sorted(os.listdir(tmp_path / "cur")) == ["1:2,S", "2:2,S"]
    (item,) = await found(world, escalate, "A hole in the sign-in")
    assert item["source_kind"] == "external_researcher"
    case = (await escalate.get(f"/v1/support-cases/{item['case_id']}")).json()
    assert case["statement"].strip() == "I found a hole."
    assert case["opened_by"] == "mail:rita@research.example"
    (original,) = [entry for entry in case["log"] if entry["kind"] == "attached"]
    path = f"/v1/support-cases/{item['case_id']}/attachments/{original['data']['digest']}"
    assert (await escalate.get(path)).content == raw
    assert await box.once() == 0


async def test_a_mail_that_was_committed_but_not_moved_is_no_second_report(
    world: World, escalate: httpx.AsyncClient, box: Maildir, tmp_path: Path
) -> None:
    drop(tmp_path, "1", mail("Killed in between"))
    await box.once()
    (tmp_path / "cur" / "1:2,S").rename(tmp_path / "new" / "1")
    await box.once()
    assert len(await found(world, escalate, "Killed in between")) == 1


async def test_what_is_no_report_is_put_aside(
    world: World, escalate: httpx.AsyncClient, box: Maildir, tmp_path: Path
) -> None:
    drop(tmp_path, "wrong-key", mail("Refused wrong key", key="fedcba9876543210"))
    drop(tmp_path, "empty", b"")
    drop(tmp_path, "noise", bytes(range(256)) * 10)
    drop(tmp_path, "no-text", mail("Refused no text", text=" "))
    drop(tmp_path, "large", mail("Refused large") + b"x" * MOST_BYTES)
    (tmp_path / "new" / "link").symlink_to("/etc/passwd")
    (tmp_path / "new" / "folder").mkdir()
    drop(tmp_path, "good", mail("Good among them"))
    assert await box.once() == 8
    assert sorted(os.listdir(tmp_path / "refused")) == [
        "empty", "folder", "large", "link", "no-text", "noise", "wrong-key",
    ]  # fmt: skip
    assert len(await found(world, escalate, "Good among them")) == 1
    assert await found(world, escalate, "Refused") == []


async def test_a_page_is_read_as_its_words(
    world: World, escalate: httpx.AsyncClient, box: Maildir, tmp_path: Path
) -> None:
    html = "<style>p {}</style><p>Somebody <b>signed</b> in</p><script>alert(1)</script>"
    drop(tmp_path, "1", mail("As a page", html=html))
    await box.once()
    (item,) = await found(world, escalate, "As a page")
    case = (await escalate.get(f"/v1/support-cases/{item['case_id']}")).json()
    assert case["statement"].split() == ["Somebody", "signed", "in"]
