"""Channels that speak other tongues: e-mail, Microsoft Teams, Apprise; each by a real server."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.escalate.oncall.channels.http import Poster
from services.escalate.oncall.channels.wiring import channels_of, poster_of
from services.escalate.oncall.links import Links
from services.escalate.pages import Page
from services.escalate.paging import ChannelError
from services.escalate.settings import Settings
from shared.clock import utc_now
from shared.ids import uuid7
from tests.support.providers import Providers, providers
from tests.support.smtp_sink import smtp_sink
from tests.support.webhook_sink import new_webhook_secret

pytestmark = pytest.mark.integration
OPEN: list[Poster] = []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sink() -> AsyncIterator[Providers]:
    async with providers(new_webhook_secret()) as found:
        yield found


@pytest_asyncio.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    """Close what a test's channels keep open."""
    yield
    while OPEN:
        async with OPEN.pop():
            pass


def page(channel: str, to: str, **more: Any) -> Page:
    values: dict[str, Any] = {
        "id": uuid7(), "incident_id": uuid7(), "team": "api", "channel": channel,
        "reason": "take on T-1 (SEV1): <sign-ins> & more", "person": "ana", "recipient": to,
        "created_at": utc_now(), "severity": "SEV1", **more,
    }  # fmt: skip
    return Page(**values)


def channels(**settings: Any) -> Any:
    links, made = Links("https://tocsin.example", b"k" * 32), Settings(**settings)
    OPEN.append(poster_of(made))
    return channels_of(made, OPEN[-1], links, utc_now)


def secrets(folder: Path, **found: Any) -> Path:
    file = folder / "secrets.json"
    file.write_text(json.dumps(found))
    return file


async def test_a_page_by_mail_is_one_mail_with_its_links_however_often_it_is_sent() -> None:
    async with smtp_sink() as server:
        email = channels(
            smtp_host="127.0.0.1", smtp_port=server.port, smtp_security="none",
            sender="Tocsin <security@tocsin.example>",
        )["email"]  # fmt: skip
        asked = page("email", "ana@example.org", severity=None, asks="severity")
        await email.send(asked)
        await email.send(asked)
        first, second = server.to("ana@example.org")
        assert first.id == second.id == f"<{asked.id}@tocsin.example>"
        text = first.message.get_content()
        assert "Acknowledge (works once): https://tocsin.example/v1/ack/" in text
        assert "Set the severity (works once): https://tocsin.example/v1/set-severity/" in text
        assert first.message["Subject"] == f"[page] {asked.reason}"
        assert first.message["Auto-Submitted"] == "auto-generated"
        await email.send(page("email", "bo@example.org"))
        (plain,) = server.to("bo@example.org")
        assert "set-severity" not in plain.message.get_content()
        server.answer = lambda _: "550 no such user"
        with pytest.raises(ChannelError, match="550"):
            await email.send(page("email", "gone@example.org"))
    with pytest.raises(ChannelError, match="Connect"):
        await email.send(page("email", "ana@example.org"))
    with pytest.raises(ChannelError, match="smtp_host is not set"):
        await channels()["email"].send(page("email", "ana@example.org"))


async def test_a_page_in_teams_is_an_adaptive_card_with_its_buttons(
    sink: Providers, tmp_path: Path
) -> None:
    teams = channels(
        paging_secrets_file=secrets(tmp_path, room=f"{sink.url}/teams"),
        paging_allow=[f"127.0.0.1:{sink.port}"],
    )["teams"]
    asked = page("teams", "room", severity=None, asks="severity")
    await teams.send(asked)
    await teams.send(page("teams", "room", person=None))
    assert sink.refused == []
    first, second = [b for p, _, b in sink.taken if p == "/teams"]
    assert sink.keys("/teams")[0] == str(asked.id)
    card = first["attachments"][0]["content"]
    assert [action["title"] for action in card["actions"]] == ["Acknowledge", "Set severity"]
    assert card["body"][0]["text"] == f"[page] {asked.reason}"
    assert len(second["attachments"][0]["content"]["actions"]) == 1
    sink.down = True
    with pytest.raises(ChannelError, match="HTTP 503"):
        await teams.send(asked)
    sink.down = False
    private = channels(paging_secrets_file=secrets(tmp_path, room=f"{sink.url}/teams"))["teams"]
    with pytest.raises(ChannelError, match="refused"):
        await private.send(asked)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
async def test_a_page_by_apprise_goes_where_its_url_says(sink: Providers, tmp_path: Path) -> None:
    file = secrets(
        tmp_path,
        anything=f"json://127.0.0.1:{sink.port}/any",
        nowhere="json://127.0.0.1:1/any",
        strange="no-such-service://x",
    )
    apprise = channels(paging_secrets_file=file)["apprise"]
    asked = page("apprise", "anything")
    await apprise.send(asked)
    (body,) = [b for p, _, b in sink.taken if p == "/any"]
    assert body["title"] == f"[SEV1] {asked.reason}"
    assert "https://tocsin.example/v1/ack/" in body["message"]
    for to, why in (
        ("nowhere", "could not deliver"),
        ("strange", "does not know the URL of strange"),
        ("absent", "has no absent"),
    ):
        with pytest.raises(ChannelError, match=why) as refusal:
            await apprise.send(page("apprise", to))
        assert "://" not in str(refusal.value)  # the URL is a secret
