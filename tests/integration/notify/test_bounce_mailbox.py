"""Bounces in a mailbox of a real IMAP server: each read once, the mailbox left as it is."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import text

from services.notify.bounce_mailbox import MailboxReader
from services.notify.imap import Access, MailboxError
from services.notify.inventory_keeper import InventoryKeeper
from services.notify.obligations.book import ObligationBook
from services.notify.obligations.profile import operator_profile
from services.notify.obligations.regime_file import load_regimes
from services.notify.settings import Settings
from shared.clock import utc_now
from tests.integration.notify.stage import Stage
from tests.integration.notify.test_bounces import ADDRESS, only, with_alternate
from tests.integration.notify.test_corrections import notified
from tests.integration.notify.test_refusals import CTO, SOC, is_in, when
from tests.support.authority import Authority
from tests.support.imap_server import PASSWORD, USER, imap_server, tls_in_front
from tests.support.world import World
from tests.unit.notify.test_bounces import FAILED, HEADERS, ID, dsn

pytestmark = pytest.mark.integration
HELLO = b"Subject: hello\r\n\r\nhi\r\n"
_MAILBOX = text("SELECT uidvalidity, last_uid FROM bounce_mailboxes WHERE mailbox = :mailbox")


def report(notification: str) -> bytes:
    return dsn(FAILED, HEADERS.replace(str(ID), notification))


def access(port: int, **changes: Any) -> Access:
    values: dict[str, Any] = {
        "host": "127.0.0.1", "port": port, "security": "none", "user": USER, "password": PASSWORD,
    }  # fmt: skip
    return Access(**{**values, **changes})


def reader(world: World, where: Access, news: list[int] | None = None) -> MailboxReader:
    told = news if news is not None else []
    engine, settings = world.engine("notify"), world.settings(Settings)
    keeper = InventoryKeeper(None, engine, utc_now)
    book = ObligationBook(keeper, operator_profile(settings), load_regimes((), {}))
    return MailboxReader(engine, utc_now, book, where, lambda: told.append(1))


async def test_a_bounce_in_a_mailbox_reaches_the_alternate_once(stage: Stage) -> None:
    with_alternate(stage)
    async with imap_server() as mail:
        settings = {
            "bounce_address": ADDRESS,
            "bounce_imap_host": "127.0.0.1",
            "bounce_imap_port": mail.port,
            "bounce_imap_security": "none",
            "bounce_imap_user": USER,
            "bounce_imap_password": SecretStr(PASSWORD),
            "bounce_imap_seconds": 1,
        }
        async with stage.running(**settings) as desk:
            incident = await notified(stage, desk, "m3")
            sent = await only(desk, incident, SOC)
            # A relay that doubts sends a report twice: two messages, one bounce.
            mail.deliver(HELLO, report(sent["notification_id"]), report(sent["notification_id"]))
            other = await when(desk, incident, CTO, is_in("sent"))
            first = await only(desk, incident, SOC)
            assert first["state"] == "bounced"
            assert [(b["status"], b["source"]) for b in first["bounces"]] == [("5.1.1", "report")]
            assert other["instead_of"] == sent["notification_id"]
            assert len(stage.smtp.to(CTO)) == 1
        # It is only read: whoever looks into it sees all messages as unseen.
        assert all(b"\\Seen" not in flags for flags in mail.flags().values())


async def test_each_message_is_read_once_until_the_server_numbers_them_anew(
    stage: Stage,
) -> None:
    async with stage.running(bounce_address=ADDRESS) as desk:
        incident = await notified(stage, desk, "m3")
        sent = (await only(desk, incident, SOC))["notification_id"]
    async with imap_server() as mail:
        where, news = access(mail.port), list[int]()
        mail.deliver(HELLO, report(sent), b"\r\n", b"\xff" * 2000)
        assert await reader(stage.world, where, news).once() == 4
        assert await reader(stage.world, where, news).once() == 0
        mail.deliver(HELLO)
        assert await reader(stage.world, where, news).once() == 1
        before = await position(stage.world, where)
    async with imap_server(port=mail.port) as anew:
        anew.deliver(report(sent))
        assert await reader(stage.world, where, news).once() == 1
        after = await position(stage.world, where)
    assert before[0] != after[0]
    assert len(news) == 1
    async with stage.world.engine("notify").connect() as connection:
        count = text("SELECT count(*) FROM bounces WHERE notification_id = :id")
        assert (await connection.execute(count, {"id": UUID(sent)})).scalar_one() == 1


async def position(world: World, where: Access) -> tuple[int, int]:
    async with world.engine("notify").connect() as connection:
        row = (await connection.execute(_MAILBOX, {"mailbox": where.name})).one()
    return row.uidvalidity, row.last_uid


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_mailbox_is_read_over_tls_from_the_server_that_is_meant(
    world: World, tmp_path: Path, security: Literal["tls", "starttls"]
) -> None:
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    async with AsyncExitStack() as stack:
        certificate = ours.issue("localhost") if security == "starttls" else None
        server = await stack.enter_async_context(imap_server(certificate))
        port = server.port
        if security == "tls":
            tls = ours.server("localhost")
            port = await stack.enter_async_context(tls_in_front(server.port, tls))
        where = {"host": "localhost", "security": security}
        assert await reader(world, access(port, ca_file=ours.path, **where)).once() == 0
        with pytest.raises(MailboxError, match="certificate verify failed"):
            await reader(world, access(port, ca_file=other.path, **where)).once()


async def test_what_keeps_the_mailbox_closed_is_said_without_the_password(world: World) -> None:
    async with imap_server() as mail:
        for wrong in (
            {"password": "gue ss"},
            {"mailbox": "Nowhere"},
            {"security": "tls"},
            {"security": "starttls"},
        ):
            with pytest.raises(MailboxError) as refused:
                await reader(world, access(mail.port, **wrong)).once()
            assert "gue ss" not in str(refused.value)
            assert PASSWORD not in str(refused.value)
    with pytest.raises(MailboxError):
        await reader(world, access(mail.port)).once()  # nobody is there


@pytest.mark.parametrize("missing", ["bounce_address", "bounce_imap_user", "bounce_imap_password"])
def test_a_mailbox_needs_an_address_and_a_login(missing: str) -> None:
    values: dict[str, Any] = {
        "bounce_address": ADDRESS,
        "bounce_imap_host": "imap.op.example",
        "bounce_imap_user": USER,
        "bounce_imap_password": SecretStr(PASSWORD),
    }
    assert Settings(**values).bounce_mailbox is not None
    del values[missing]
    with pytest.raises(ValidationError, match="bounce"):
        Settings(**values)
