"""An incident is not closed over evidence that is not secured (I6)."""

from datetime import timedelta
from typing import Any

import pytest

from shared.clock import rfc3339
from tests.integration.cases.evidence.keeping import Custody

pytestmark = pytest.mark.integration


async def refusals(custody: Custody, incident: str) -> list[dict[str, Any]]:
    answer = await custody.people.send("rita", incident, "close")
    return list(answer.json().get("unmet", ()))


async def test_a_loss_that_custodian_and_legal_accept_does_not_block_closing(
    custody: Custody,
) -> None:
    people = custody.people
    incident, review = await people.in_review()
    await people.signed_off(review)
    data = b"on a disk that broke"
    item = await custody.collected(data, incident)
    early = await custody.send("eve", item, "request-loss-acceptance", reason="in doubt")
    assert (early.status_code, early.json()["code"]) == (409, "not_lost")
    custody.path(data).chmod(0o600)
    custody.path(data).unlink()
    assert await custody.does("eve", item, "verify-integrity") == ["EvidenceIntegrityFailed"]
    [unmet] = await refusals(custody, incident)
    assert unmet["code"] == "evidence_open"
    asked = await custody.does("eve", item, "request-loss-acceptance", reason="no copy anywhere")
    assert asked == ["EvidenceLossAcceptanceRequested"]
    alone = await custody.send("eve", item, "accept-loss")
    assert alone.status_code == 403
    assert await custody.does("lena", item, "accept-loss") == ["EvidenceLossAccepted"]
    seen = await custody.see(item)
    assert seen["item"]["frozen"]
    told = seen["custody"][-1]
    assert (told["from"], told["actor"], told["reason"]) == ("eve", "lena", "no copy anywhere")
    assert await refusals(custody, incident) == []
    assert (await people.shown(incident))["state"] == "closed"


async def test_closing_asks_that_every_item_is_sealed_and_retained(custody: Custody) -> None:
    people = custody.people
    incident, review = await people.in_review()
    await people.signed_off(review)
    await custody.announced(incident)  # a promise that nobody kept is no evidence
    item = await custody.collected(b"logins of the night", incident)
    [unmet] = await refusals(custody, incident)
    assert unmet["code"] == "evidence_open"
    assert item in unmet["detail"]
    assert "not sealed, no retention set" in unmet["detail"]
    await custody.does("eve", item, "seal")
    [unmet] = await refusals(custody, incident)
    assert unmet["detail"].endswith("no retention set")
    until = rfc3339(custody.clock() + timedelta(days=8 * 365))
    await custody.does("eve", item, "set-retention", retention_class="evidence", until=until)
    closed = await people.does("rita", incident, "close")
    assert closed["events"] == ["IncidentClosed"]
    assert (await people.shown(incident))["closure"]["checklist"]["evidence"] == "1 secured"
