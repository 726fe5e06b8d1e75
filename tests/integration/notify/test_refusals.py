"""Recipients that are refused for good: the alternates are written to, and at last a person."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from services.notify.schedule import delay_after
from shared.contracts.cases import IncidentDismissedV1
from shared.contracts.notify import (
    CustomersNotifiedV1,
    NotificationSentV1,
    NotificationUndeliverableV1,
    ObligationOverdueV1,
    ObligationReopenedV1,
)
from tests.integration.notify.stage import Desk, Stage, told_by_cases
from tests.integration.notify.test_bounces import ADDRESS, drop, only, with_alternate
from tests.integration.notify.test_corrections import notified
from tests.integration.notify.test_delivery import approved, attempted, only_beta
from tests.support.waiting import until
from tests.unit.notify.test_bounces import FAILED, dsn

pytestmark = pytest.mark.integration
SOC, CTO = "soc@delta.example", "cto@delta.example"
_DAYS_LATER = text("UPDATE notifications SET attempt = :attempts WHERE incident_id = :incident")
LAST = 9
REFUSED = "550 5.1.1 no such user"


async def when(
    desk: Desk, incident: UUID, recipient: str, is_so: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """Return the notification to *recipient* once it is so."""

    async def probe() -> Any:
        found = await only(desk, incident, recipient)
        return found if found and is_so(found) else None

    found: dict[str, Any] = await until(probe)
    return found


def is_in(state: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found["state"] == state


def refuse(stage: Stage, **answers: str) -> dict[str, str]:
    """Have the mail server answer for who@delta.example; return what may be changed."""
    by_address = {f"{who}@delta.example": answer for who, answer in answers.items()}
    stage.smtp.answer = by_address.get
    return by_address


async def test_a_refused_recipient_leads_to_the_alternate_as_a_bounce_does(stage: Stage) -> None:
    with_alternate(stage)
    refuse(stage, soc=REFUSED)
    async with stage.running() as desk:
        incident = await approved(stage, desk, "m3")
        other = await when(desk, incident, CTO, is_in("sent"))
        first = await only(desk, incident, SOC)
        assert (first["state"], first["undeliverable_at"]) == ("failed", None)
        assert [(b["recipient"], b["status"], b["source"]) for b in first["bounces"]] == [
            (SOC, "5.1.1", "refusal")
        ]
        assert first["bounces"][0]["diagnostic"] == f"smtp; {REFUSED}"
        assert other["instead_of"] == first["notification_id"]
        assert [m.recipients for m in stage.smtp.mails] == [(CTO,)]
        (done,) = await until(lambda: stage.published(incident, CustomersNotifiedV1))
        assert done.tenants == 1
        assert await stage.published(incident, NotificationUndeliverableV1) == []


async def test_one_of_two_is_refused_and_the_other_was_told(stage: Stage) -> None:
    text = stage.file.read_text()
    both = "{email: [soc@delta.example, it@delta.example], alternate_email: [cto@delta.example]"
    stage.file.write_text(text.replace("{email: [soc@delta.example]", both))
    answers = refuse(stage, soc=REFUSED, it="451 4.3.0 later")
    async with stage.running() as desk:
        incident = await approved(stage, desk, "m3")
        # The alternate does not wait for the one that is only deferred.
        await when(desk, incident, CTO, is_in("sent"))
        del answers["it@delta.example"]
        asked: list[str] = []
        stage.smtp.answer = lambda to: asked.append(to) or answers.get(to)  # type: ignore[func-returns-value]
        stage.clock.wind(minutes=10)
        await until(lambda: stage.smtp.to("it@delta.example"))
        sent = await until(lambda: stage.published(incident, NotificationSentV1))
        assert asked == ["it@delta.example"]  # what is refused for good is not asked again
        await until(lambda: stage.published(incident, CustomersNotifiedV1))
        assert {m.recipient for m in sent} <= {CTO, "it@delta.example"}
        assert await stage.published(incident, NotificationUndeliverableV1) == []


async def test_where_nobody_is_left_it_is_told_once_and_can_be_tried_again(stage: Stage) -> None:
    with_alternate(stage)
    answers = refuse(stage, soc=REFUSED, cto="551 5.1.6 moved away")
    async with stage.running() as desk:
        incident = await approved(stage, desk, "m3")
        last = await when(desk, incident, CTO, is_in("failed"))
        lost = await when(desk, incident, SOC, lambda n: n["undeliverable_at"])
        (told,) = await until(lambda: stage.published(incident, NotificationUndeliverableV1))
        assert (told.tenant, told.channel, told.contacts) == ("delta", "email", 2)
        assert str(told.notification_id) == lost["notification_id"]
        found = await desk.get(f"/v1/notifications?incident_id={incident}")
        assert found["undeliverable"] == 1
        assert await stage.published(incident, CustomersNotifiedV1) == []
        assert stage.smtp.mails == []
        # Refused once more: that is told once more, and nobody is written to behind one's back.
        path = f"/v1/notifications/{lost['notification_id']}/retry"
        await desk.post(path, None)
        again = await when(desk, incident, SOC, lambda n: len(n["bounces"]) == 2)
        assert [b["round"] for b in again["bounces"]] == [0, 1]
        await until(lambda: _told(stage, incident, 2))
        answers.clear()
        await desk.post(f"/v1/notifications/{last['notification_id']}/retry", None)
        await when(desk, incident, CTO, is_in("sent"))
        assert (await only(desk, incident, SOC))["undeliverable_at"] is None
        assert [m.recipients for m in stage.smtp.mails] == [(CTO,)]
        await until(lambda: stage.published(incident, CustomersNotifiedV1))


async def _told(stage: Stage, incident: UUID, count: int) -> bool:
    return len(await stage.published(incident, NotificationUndeliverableV1)) == count


async def test_a_bounce_without_an_alternate_is_told_and_shown_beside_what_is_owed(
    stage: Stage,
) -> None:
    async with stage.running(bounce_address=ADDRESS, bounce_smtp_port=0) as desk:
        incident = await notified(stage, desk, "m3")
        (mail,) = stage.smtp.to(SOC)
        await drop(desk.bounce_port, dsn(FAILED), mail.sender)
        lost = await when(desk, incident, SOC, lambda n: n["undeliverable_at"])
        assert lost["state"] == "bounced"
        await until(lambda: _told(stage, incident, 1))
        board = await desk.get(f"/v1/clock-board?incident_id={incident}&tenant=delta&done=true")
        assert {row["undeliverable"] for row in board["items"]} == {True}
        # Nobody has it, so it is owed again; the deadline has passed, and the alarm is back.
        owed = {row["obligation_id"] for row in board["items"] if row["recipient"] == "tenant"}
        open_ = await desk.get(f"/v1/clock-board?incident_id={incident}&tenant=delta")
        assert owed <= {row["obligation_id"] for row in open_["items"]}
        again = await stage.published(incident, ObligationReopenedV1)
        assert {str(m.obligation_id) for m in again} == owed
        alarms = await until(lambda: _alarms(stage, incident, owed))
        assert {m.reopened for m in alarms} == {1}
        # The customer has mended its server: the same message, to the one that had bounced.
        await desk.post(f"/v1/notifications/{lost['notification_id']}/retry", None)
        again = await until(lambda: stage.smtp.to(SOC)[1:])
        assert again[0].id == mail.id
        await when(desk, incident, SOC, is_in("sent"))
        board = await desk.get(f"/v1/clock-board?incident_id={incident}&tenant=delta")
        assert not owed & {row["obligation_id"] for row in board["items"]}  # met, if late


async def _alarms(stage: Stage, incident: UUID, owed: set[str]) -> list[ObligationOverdueV1] | None:
    """Return the alarms of what is owed again, once each of *owed* has one."""
    told: list[ObligationOverdueV1] = await stage.published(incident, ObligationOverdueV1)
    found = [one for one in told if one.reopened]
    return found if {str(one.obligation_id) for one in found} == owed else None


async def test_a_recipient_that_is_deferred_for_days_is_given_up(stage: Stage) -> None:
    with_alternate(stage)
    refuse(stage, soc="452 4.2.2 mailbox full")
    async with stage.running() as desk:
        incident = await approved(stage, desk, "m3")
        await attempted(desk, incident)
        # Days later; tokens of people do not live as long.
        async with stage.world.engine("notify").begin() as connection:
            await connection.execute(_DAYS_LATER, {"attempts": LAST, "incident": incident})
        assert delay_after("email", LAST + 1) is None
        stage.clock.wind(minutes=1)
        await when(desk, incident, CTO, is_in("sent"))
        first = await only(desk, incident, SOC)
        assert (first["state"], len(first["attempts"])) == ("failed", 2)
        assert [(b["status"], b["source"]) for b in first["bounces"]] == [("4.4.7", "expired")]
        assert "mailbox full" in first["bounces"][0]["diagnostic"]


async def test_a_webhook_that_is_gone_is_told(stage: Stage) -> None:
    stage.hooks.answers = [(410, {})]
    async with stage.running() as desk:
        incident = await only_beta(stage, desk)
        gone = await attempted(desk, incident)
        assert gone["state"] == "failed"
        assert gone["undeliverable_at"] is not None
        (told,) = await until(lambda: stage.published(incident, NotificationUndeliverableV1))
        assert (told.tenant, told.channel) == ("beta", "webhook")


async def test_what_was_taken_back_does_not_go_to_an_alternate(stage: Stage) -> None:
    with_alternate(stage)
    async with stage.running(bounce_address=ADDRESS, bounce_smtp_port=0) as desk:
        incident = await notified(stage, desk, "m3")
        (mail,) = stage.smtp.to(SOC)
        why = {"classification": "false_positive", "reason": "incorrect_alert_logic"}
        await stage.say(told_by_cases(IncidentDismissedV1, incident, 20, **why))
        await until(lambda: desk_corrections(desk, incident))
        await drop(desk.bounce_port, dsn(FAILED), mail.sender)
        await when(desk, incident, SOC, is_in("bounced"))
        assert await only(desk, incident, CTO) is None


async def desk_corrections(desk: Desk, incident: UUID) -> Any:
    return (await desk.get(f"/v1/incidents/{incident}/corrections"))["items"]
