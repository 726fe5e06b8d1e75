"""Drafts name what they lack, nothing leaves without it; forms are kept as they were approved."""

import io
import json
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pypdfium2
import pytest

from shared.clock import rfc3339
from shared.contracts.notify import ObligationMetV1
from shared.ids import uuid7
from tests.integration.notify.stage import Desk, Stage, confirmed, scoped
from tests.support.waiting import until

pytestmark = pytest.mark.integration

MINE = """version: "{version}"
templates:
  - id: customer_notice
    kind: notice
    locale: en
    subject: "{{{{ number }}}}"
    standing: {{next_update: "Soon.", suggested_actions: "Wait.", actions_taken: "Much."}}
    text: |
      {words}: {{{{ description }}}} {{{{ effect_on_customer_data }}}} {{{{ actions_taken }}}}
      {{{{ suggested_actions }}}} {{{{ next_update }}}}
      {{% for item in further %}}
      {{{{ item.label }}}}: {{{{ item.text }}}}
      {{% endfor %}}
"""


async def _obligation(desk: Desk, incident: UUID, regime: str, phase: str) -> str:
    async def probe() -> Any:
        items = (await desk.get(f"/v1/obligations?incident_id={incident}"))["items"]
        return next((o for o in items if (o["regime"], o["phase"]) == (regime, phase)), None)

    return str((await until(probe))["obligation_id"])


async def test_a_form_is_filled_from_facts_approved_and_kept(stage: Stage, tmp_path: Path) -> None:
    incident, now = uuid7(), stage.clock()
    aware = now - timedelta(hours=2)
    contact = {"operator_privacy_contact": "Jürgen Größ, dpo@op.example"}
    async with stage.running(**contact) as desk:
        await stage.say(confirmed(incident, aware_at=aware, detected_at=aware, confirmed_at=now))
        path = f"/v1/obligations/{await _obligation(desk, incident, 'gdpr_33_1', 'initial')}"
        form = await desk.get(f"{path}/form.json")
        fields = {one["name"]: one for one in form["fields"]}
        assert fields["nature"]["value"] == "Somebody read mail on one server."
        assert fields["dpo_contact"]["value"] == "Jürgen Größ, dpo@op.example"
        assert form["missing"] == ["categories_and_numbers", "measures"]

        # The list of drafts says the same of it.
        drafts = await desk.get(f"/v1/incidents/{incident}/drafts")
        one = next(d for d in drafts["authorities"] if d["draft_id"] == form["obligation_id"])
        assert one["missing"] == form["missing"]
        shown = await desk.get(f"/v1/incidents/{incident}/drafts/{one['draft_id']}")
        assert shown["fields"] == form["fields"]

        async def do(verb: str, body: Any, who: str) -> Any:
            return await desk.call("POST", f"{path}/{verb}", json=body, who=who, role="legal")

        drafted = await do("draft", {"content": {"measures": "Closed. {{ 7*7 }}"}}, "iris")
        assert drafted.json()["missing"] == ["categories_and_numbers"]
        assert drafted.json()["filled_from_facts"]["nature"] == "incident summary"
        refused = await do("approve", None, "lena")
        assert refused.status_code == 409
        assert refused.json()["unmet"] == [
            {"code": "content_missing", "detail": "It has no categories_and_numbers."}
        ]
        content = {"measures": "Closed. {{ 7*7 }}", "categories_and_numbers": "1,200 people"}
        await do("draft", {"content": content}, "iris")
        approved = (await do("approve", None, "lena")).json()
        pdf = await desk.call("GET", f"{path}/form.pdf")
        assert pdf.headers["content-type"] == "application/pdf"
        assert "TOCSIN-2026-0001-gdpr_33_1-initial.pdf" in pdf.headers["content-disposition"]
        assert sha256(pdf.content).hexdigest() == approved["form"]["pdf_sha256"]
        words = pypdfium2.PdfDocument(io.BytesIO(pdf.content))[0].get_textpage().get_text_range()
        for said in ("Jürgen Größ", "Closed. {{ 7*7 }}", "1,200 people", "approved by lena"):
            assert said in words
        document = await desk.call("GET", f"{path}/form.json")
        assert sha256(document.content).hexdigest() == approved["form"]["json_sha256"]

    # Another release with other words: what was approved stays as it was, to the byte.
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "mine.yml").write_text(
        'version: "9"\nasks:\n  - {regime: gdpr_33_1, fields: {nature: "Other words."}}\n'
    )
    async with stage.running(templates_dir=folder) as desk:
        again = await desk.call("GET", f"{path}/form.pdf")
        assert again.content == pdf.content
        body = {"submitted_at": rfc3339(now), "reference": "DPA-1"}
        done = await desk.call("POST", f"{path}/submit", json=body, who="lena", role="legal")
        assert done.status_code == 200, done.text
        assert (await desk.call("GET", f"{path}/form.json")).content == document.content
        met = await until(lambda: stage.published(incident, ObligationMetV1))
        assert met[0].document_sha256 == approved["form"]["pdf_sha256"]
        fresh = await desk.get(
            f"/v1/obligations/{await _obligation(desk, incident, 'gdpr_34', 'communication')}"
            "/form.json"
        )
        assert fresh["stage"] == "undecided"
        assert (await desk.call("GET", f"/v1/obligations/{uuid7()}/form.pdf")).status_code == 404


async def test_what_a_contract_asks_for_blocks_the_notice_until_it_is_written(stage: Stage) -> None:
    incident = uuid7()
    text = stage.file.read_text().replace(
        "hours: 24, clock: aware}", "hours: 24, clock: aware, content: [description, root_cause]}"
    )
    stage.file.write_text(text.replace("- name: alpha", "- name: alpha\n    locale: de-AT"))
    capacities = ["controller", "processor", "business_associate"]
    async with stage.running(operator_capacities=capacities) as desk:
        await stage.say(confirmed(incident), scoped(incident, "m1"))
        listed = await desk.newest_list(incident)
        drafts = (await desk.get(f"/v1/incidents/{incident}/drafts"))["customers"]
        german = next(d for d in drafts if d["tenants"] == ["alpha"])
        english = next(d for d in drafts if d["tenants"] == ["beta"])
        assert (german["template"]["locale"], english["template"]["locale"]) == ("de", "en")
        assert german["missing"] == [{"name": "root_cause", "asked_by": ["contract_sla"]}]
        assert english["missing"] == []
        one = await desk.get(f"/v1/incidents/{incident}/drafts/{german['draft_id']}")
        assert one["sample"] is None
        sample = await desk.get(f"/v1/incidents/{incident}/drafts/{english['draft_id']}")
        assert sample["sample"]["text"].startswith("Dear beta,")
        unknown = await desk.call("GET", f"/v1/incidents/{incident}/drafts/{uuid7()}")
        assert unknown.status_code == 404

        refused = await desk.approve(listed["list_id"])
        assert refused.status_code == 409
        assert [one["code"] for one in refused.json()["unmet"]] == ["notice_incomplete"]
        assert "no root_cause, which contract_sla asks for" in refused.json()["unmet"][0]["detail"]
        assert await desk.notifications(incident) == {}

        body = {
            "content": {"root_cause": "A stolen key."},
            "translations": {"de": {"root_cause": "Ein gestohlener Schlüssel."}},
        }
        wrote = await desk.call("PUT", f"/v1/incidents/{incident}/notice", json=body, who="iris")
        assert wrote.status_code == 200, wrote.text
        bad = {"translations": {"deutsch": {"root_cause": "x"}}}
        path = f"/v1/incidents/{incident}/notice"
        assert (await desk.call("PUT", path, json=bad, who="iris")).status_code == 422
        assert (await desk.approve(listed["list_id"])).status_code == 200
        sent = await desk.all_are(incident, "sent")
        alpha = sent["alpha", "email"]
        assert alpha["template"]["locale"] == "de"
        assert alpha["template"]["id"] == "customer_notice"
        assert "root_cause" in alpha["covers"]
        text = str(stage.smtp.to("security@alpha.example")[0].message.get_content())
        assert text.startswith("Guten Tag alpha,")
        assert "Ursache\nEin gestohlener Schlüssel." in text.replace("\r\n", "\n")
        kept = await desk.get(f"/v1/templates/{alpha['template']['digest']}")
        assert kept["template"]["locale"] == "de"

        # What is owed to alpha is met by it.
        async def met() -> Any:
            found = await stage.published(incident, ObligationMetV1)
            return {(m.regime, m.tenant) for m in found} >= {
                ("contract_sla", "alpha"),
                ("gdpr_33_2", "alpha"),
            }

        await until(met)
        # What could not be ruled out and asks for more than was said is still open.
        board = await desk.get(f"/v1/clock-board?incident_id={incident}&regime=hipaa_410")
        assert {item["stage"] for item in board["items"]} == {"undecided"}


async def test_an_operators_templates_are_used_and_old_words_stay(
    stage: Stage, tmp_path: Path
) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "mine.yml").write_text(MINE.format(version="1", words="First words"))
    incident = uuid7()
    async with stage.running(templates_dir=folder) as desk:
        await stage.say(confirmed(incident), scoped(incident, "m3"))
        listed = await desk.newest_list(incident)
        await desk.approve(listed["list_id"])
        first = (await desk.all_are(incident, "sent"))["delta", "email"]
        assert first["template"]["version"] == "1"
    (folder / "mine.yml").write_text(MINE.format(version="2", words="Second words"))
    async with stage.running(templates_dir=folder) as desk:
        again = (await desk.notifications(incident))["delta", "email"]
        assert again["template"] == first["template"]
        posted = await desk.portal("GET", "", "delta")
        assert posted.json()["items"][0]["text"].startswith("First words: Somebody read mail")
        kept = await desk.get(f"/v1/templates/{first['template']['digest']}")
        assert (kept["in_force"], kept["template"]["version"]) == (False, "1")
        await stage.say(scoped(incident, "m1", "m3", scope_version=2))
        listed = await desk.newest_list(incident, 2)
        await desk.approve(listed["list_id"])
        sent = await desk.all_are(incident, "sent")
        assert sent["alpha", "email"]["template"]["version"] == "2"
        assert sent["delta", "email"]["template"]["version"] == "1"
        rows = (await desk.get("/v1/templates"))["items"]
        mine = next(t for t in rows if t["origin"] == "mine.yml")
        assert (mine["version"], mine["locale"]) == ("2", "en")
        assert (await desk.call("GET", "/v1/templates/0")).status_code == 404
        assert json.dumps(rows)
