"""The customer notice has its required content or is not made."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.notify.message import (
    REQUIRED,
    Content,
    Draft,
    MissingFieldsError,
    Subject,
    compose,
    render,
)
from services.notify.wording.catalogue import Kind
from services.notify.wording.facts import Known
from tests.support.wording import shipped

pytestmark = pytest.mark.unit

FACTS = {"summary": "Somebody read mail.", "potential_impact": "Mail of one server was readable."}
SUBJECT = Subject(
    tenant="contoso",
    display_name="Contoso Ltd",
    confidence="probable",
    services=("mail",),
    regions=("eu-west",),
    data_classes=("personal",),
)


def draft(
    facts: dict[str, Any] = FACTS,
    written: dict[str, str] | None = None,
    names: tuple[str, ...] = REQUIRED,
    locale: str | None = None,
) -> Draft:
    template = shipped().choose(Kind.NOTICE, "email", locale)
    known = Known(number="TOCSIN-2026-0001", facts=facts)
    return compose(names, template, shipped(), known, written, "iris")


def rendered(notice: Draft, subject: Subject = SUBJECT) -> Content:
    return render(
        notice,
        subject,
        shipped(),
        number="TOCSIN-2026-0001",
        notification_id=UUID(int=7),
        operator_name="Example Cloud",
        at=datetime(2026, 5, 1, tzinfo=UTC),
    )


def test_facts_and_standing_text_make_a_whole_notice() -> None:
    notice = draft()
    content = rendered(notice)
    for words in ("Dear Contoso Ltd", *FACTS.values(), "mail in eu-west", "Example Cloud"):
        assert words in content.text
    assert notice.template.standing["suggested_actions"] in content.text
    assert content.subject == "Security incident TOCSIN-2026-0001: notice to Contoso Ltd"
    body = json.loads(content.body)
    assert body["type"] == "tocsin.customer_notice.v1"
    assert body["data"]["notification_id"] == str(UUID(int=7))
    assert set(REQUIRED) <= set(body["data"])
    assert notice.filled_by["description"] == "incident summary"
    assert notice.filled_by["next_update"].startswith("standing text of customer_notice 2026.")


def test_what_was_written_goes_before_facts_and_standing_text() -> None:
    notice = draft(written={"description": "Written.", "next_update": "Friday."})
    assert notice.values["description"] == "Written."
    assert notice.values["next_update"] == "Friday."
    assert notice.values["effect_on_customer_data"] == FACTS["potential_impact"]
    assert notice.filled_by["description"] == "iris (written)"


def test_german_is_german_and_takes_what_was_written_for_it() -> None:
    written = {"description": "Mail was read.", "description@de": "Post wurde gelesen."}
    notice = draft(written=written, locale="de-AT")
    content = rendered(notice)
    assert content.text.startswith("Guten Tag Contoso Ltd,")
    assert "Post wurde gelesen." in content.text
    assert "Mail was read." not in content.text
    assert notice.template.standing["next_update"] in content.text
    assert content.template.locale == "de"
    # What nobody translated is said all the same.
    del written["description@de"]
    assert "Mail was read." in rendered(draft(written=written, locale="de")).text


def test_actions_follow_containment() -> None:
    contained = draft({**FACTS, "contained_at": "2026-05-01T00:00:00Z"})
    assert "contained it" in contained.values["actions_taken"]
    assert "working to contain it" in draft().values["actions_taken"]


def test_a_missing_field_stops_the_notice_and_is_named() -> None:
    notice = draft({"summary": "x", "potential_impact": "  "}, names=(*REQUIRED, "root_cause"))
    assert notice.missing == ("effect_on_customer_data", "root_cause")
    with pytest.raises(MissingFieldsError) as refusal:
        rendered(notice)
    assert refusal.value.fields == notice.missing


def test_what_a_contract_asks_for_besides_is_said_under_its_own_heading() -> None:
    names = (*REQUIRED, "root_cause")
    content = rendered(draft(written={"root_cause": "A stolen key."}, names=names))
    assert "Root cause\nA stolen key.\n\nNext update" in content.text
    assert json.loads(content.body)["data"]["further"] == {"root_cause": "A stolen key."}
    assert content.covers == names
    german = rendered(draft(written={"root_cause": "Ein Schlüssel."}, names=names, locale="de"))
    assert "Ursache\nEin Schlüssel." in german.text


def test_free_text_is_never_a_template_and_carries_no_control_characters() -> None:
    text = rendered(draft({**FACTS, "summary": "{{ 7*7 }} {% raw %}\x1b[2J\u202eevil\x00"})).text
    assert "{{ 7*7 }} {% raw %}" in text
    assert not any(c in text for c in "\x1b\u202e\x00")


def test_possible_is_said_as_possible() -> None:
    possible = Subject(
        tenant="t", display_name="T", confidence="possible", services=(), regions=(),
        data_classes=(),
    )  # fmt: skip
    assert "cannot rule out" in rendered(draft(), possible).text
    assert "cannot rule out" not in rendered(draft()).text


def test_a_rendering_says_from_which_words_it_is() -> None:
    ref = rendered(draft()).template
    assert (ref.id, ref.locale) == ("customer_notice", "en")
    assert len(ref.digest) == 64
    assert ref != rendered(draft(locale="de")).template
