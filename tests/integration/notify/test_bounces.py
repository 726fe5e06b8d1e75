"""A mail that was taken and came back: recorded once, and the alternate contact written to."""

from pathlib import Path
from typing import Any
from uuid import UUID

import aiosmtplib
import pytest

from services.notify.bounces import return_path
from shared.contracts.notify import ObligationMetV1, ObligationReopenedV1
from tests.integration.notify.stage import Desk, Stage
from tests.integration.notify.test_corrections import notified
from tests.support.waiting import until
from tests.unit.notify.test_bounces import FAILED, HEADERS, ID, dsn

pytestmark = pytest.mark.integration
ADDRESS = "bounces@op.example"


def with_alternate(stage: Stage) -> None:
    text = stage.file.read_text()
    contact = "{email: [soc@delta.example]"
    stage.file.write_text(text.replace(contact, f"{contact}, alternate_email: [cto@delta.example]"))


async def drop(port: int | None, report: bytes, to: str) -> None:
    """Deliver as a relay does: reports have no sender of their own (RFC 5321, 4.5.5)."""
    assert port is not None
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
        await client.sendmail("", [to], report)


async def only(desk: Desk, incident: UUID, recipient: str) -> Any:
    found = await desk.get(f"/v1/notifications?incident_id={incident}")
    return next((n for n in found["items"] if n["recipients"] == [recipient]), None)


async def test_a_bounce_to_the_drop_reaches_the_alternate_once(stage: Stage) -> None:
    with_alternate(stage)
    own = "  - name: delta\n    capacities: [controller]\n    data_subject_regions: [EU]\n"
    stage.file.write_text(stage.file.read_text().replace("  - name: delta\n", own))
    async with stage.running(bounce_address=ADDRESS, bounce_smtp_port=0) as desk:
        incident = await notified(stage, desk, "m3")
        (mail,) = stage.smtp.to("soc@delta.example")
        sent = await only(desk, incident, "soc@delta.example")
        notification = UUID(sent["notification_id"])
        assert mail.sender == return_path(ADDRESS, notification)
        port = desk.bounce_port
        report = dsn(FAILED)
        for _ in range(2):  # a relay that got no answer sends it again
            await drop(port, report, mail.sender)
        bounced = await only(desk, incident, "soc@delta.example")
        assert bounced["state"] == "bounced"
        assert [(b["recipient"], b["status"]) for b in bounced["bounces"]] == [
            ("soc@delta.example", "5.1.1")
        ]

        async def alternate() -> Any:
            found = await only(desk, incident, "cto@delta.example")
            return found if found and found["state"] == "sent" else None

        other = await until(alternate)
        assert other["instead_of"] == str(notification)
        (second,) = stage.smtp.to("cto@delta.example")
        assert second.message.get_content() == mail.message.get_content()
        assert second.id != mail.id
        # What the first had met ran again until the alternate had it; all of that is told.
        met = await until(lambda: _all_met(stage, desk, incident, "delta", 2))
        again = await stage.published(incident, ObligationReopenedV1)
        assert {m.reference for m in again} == {f"email {notification}"}
        ids = (notification, other["notification_id"])
        assert {m.reference for m in met} == {f"email {each}" for each in ids}
        assert len(met) == 2 * len(again)
        # The customer's own clocks run from when it was told, and that was not by the first.
        board = f"/v1/clock-board?incident_id={incident}&tenant=delta&customers=true"
        rows = (await desk.get(board))["items"]
        clocks = {row["clock_at"] for row in rows if row["holder"] == "customer"}
        assert min(clocks) == other["sent_at"]

        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):  # no relay for anybody
            await drop(port, report, "x@else.example")
        # A report about somebody whom nothing was sent to is not believed.
        forged = dsn(FAILED.replace("soc@delta", "it@gamma"))
        await drop(port, forged, mail.sender)
        assert len((await only(desk, incident, "soc@delta.example"))["bounces"]) == 1


async def test_a_bounce_in_a_maildir_is_read(stage: Stage, tmp_path: Path) -> None:
    for name in ("new", "cur", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    settings = {"bounce_address": ADDRESS, "bounce_maildir": tmp_path / "mail"}
    async with stage.running(**settings) as desk:
        incident = await notified(stage, desk, "m3")
        sent = await only(desk, incident, "soc@delta.example")
        headers = HEADERS.replace(str(ID), sent["notification_id"])
        (tmp_path / "mail" / "new" / "1.x").write_bytes(dsn(FAILED, headers))
        (tmp_path / "mail" / "new" / "2.x").write_bytes(b"Subject: hello\r\n\r\nhi\r\n")

        async def bounced() -> bool:
            one = await only(desk, incident, "soc@delta.example")
            return bool(one["state"] == "bounced")

        await until(bounced)

        async def moved() -> bool:
            return sorted(p.name for p in (tmp_path / "mail" / "cur").iterdir()) == [
                "1.x:2,S",
                "2.x:2,S",
            ]

        await until(moved)


async def _all_met(
    stage: Stage, desk: Desk, incident: UUID, tenant: str, times: int
) -> list[ObligationMetV1] | None:
    """Return what was told of the obligations towards *tenant* once each was met so often."""
    board = await desk.get(f"/v1/clock-board?incident_id={incident}&tenant={tenant}&done=true")
    owed = [o for o in board["items"] if o["recipient"] == "tenant" and o["holder"] == "provider"]
    met = [m for m in await stage.published(incident, ObligationMetV1) if m.tenant == tenant]
    done = owed and {o["stage"] for o in owed} == {"submitted"}
    return met if done and len(met) == times * len(owed) else None


async def test_what_another_channel_delivered_stays_met(stage: Stage) -> None:
    text = stage.file.read_text()
    stage.file.write_text(text.replace("subject_regions: [US]", "subject_regions: [EU]"))
    async with stage.running(bounce_address=ADDRESS, bounce_smtp_port=0) as desk:
        incident = await notified(stage, desk, "m2")
        await until(lambda: _all_met(stage, desk, incident, "gamma", 1))
        (mail,) = stage.smtp.to("it@gamma.example")
        await drop(desk.bounce_port, dsn(FAILED.replace("soc@delta", "it@gamma")), mail.sender)
        assert (await only(desk, incident, "it@gamma.example"))["state"] == "bounced"
        assert await _all_met(stage, desk, incident, "gamma", 1)
        assert await stage.published(incident, ObligationReopenedV1) == []
