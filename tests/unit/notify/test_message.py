"""The customer notice has its required content or is not made."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.notify.message import (
    REQUIRED,
    Content,
    MissingFieldsError,
    Subject,
    complete,
    missing,
    render,
    standing_text,
    template_digest,
)

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


def rendered(notice: dict[str, str], subject: Subject = SUBJECT) -> Content:
    return render(
        notice,
        subject,
        number="TOCSIN-2026-0001",
        notification_id=UUID(int=7),
        operator_name="Example Cloud",
        at=datetime(2026, 5, 1, tzinfo=UTC),
    )


def test_facts_and_standing_text_make_a_whole_notice() -> None:
    content = rendered(complete(FACTS, {}))
    for words in ("Dear Contoso Ltd", *FACTS.values(), "mail in eu-west", "Example Cloud"):
        assert words in content.text
    assert standing_text()["suggested_actions"] in content.text
    body = json.loads(content.body)
    assert body["type"] == "tocsin.customer_notice.v1"
    assert body["data"]["notification_id"] == str(UUID(int=7))
    assert set(REQUIRED) <= set(body["data"])


def test_what_was_written_goes_before_facts_and_standing_text() -> None:
    notice = complete(FACTS, {"description": "Written.", "next_update": "Friday."})
    assert (notice["description"], notice["next_update"]) == ("Written.", "Friday.")
    assert notice["effect_on_customer_data"] == FACTS["potential_impact"]


def test_actions_follow_containment() -> None:
    contained = complete({**FACTS, "contained_at": "2026-05-01T00:00:00Z"}, {})
    assert "contained it" in contained["actions_taken"]
    assert "working to contain it" in complete(FACTS, {})["actions_taken"]


def test_a_missing_field_stops_the_notice_and_is_named() -> None:
    notice = complete({"summary": "x", "potential_impact": "  "}, {}, standing={})
    assert missing(notice) == (
        "effect_on_customer_data", "actions_taken", "suggested_actions", "next_update",
    )  # fmt: skip
    with pytest.raises(MissingFieldsError) as refusal:
        rendered(notice)
    assert refusal.value.fields == missing(notice)


def test_free_text_is_never_a_template_and_carries_no_control_characters() -> None:
    notice = complete({**FACTS, "summary": "{{ 7*7 }} {% raw %}\x1b[2J\u202eevil\x00"}, {})
    text = rendered(notice).text
    assert "{{ 7*7 }} {% raw %}" in text
    assert not any(c in text for c in "\x1b\u202e\x00")


def test_possible_is_said_as_possible() -> None:
    possible = Subject(
        tenant="t", display_name="T", confidence="possible", services=(), regions=(),
        data_classes=(),
    )  # fmt: skip
    assert "cannot rule out" in rendered(complete(FACTS, {}), possible).text
    assert "cannot rule out" not in rendered(complete(FACTS, {})).text


def test_the_template_has_a_version() -> None:
    assert len(template_digest()) == 64
