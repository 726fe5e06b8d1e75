"""A correction is in the language of what it corrects; what somebody wrote stays as written."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.notify.correction_text import render_correction, standing_statement, translated
from services.notify.told import Told
from services.notify.wording.catalogue import Kind
from tests.support.wording import shipped

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("why", ["not_affected", "no_incident", "merged"])
def test_standing_words_are_translated(why: str) -> None:
    english = standing_statement(shipped(), why, "TOCSIN-2026-0009")
    german = translated(shipped(), why, english, "de")
    assert german == standing_statement(shipped(), why, "TOCSIN-2026-0009", "de")
    assert german != english
    assert ("TOCSIN-2026-0009" in german) == (why == "merged")
    assert translated(shipped(), why, english, "fr") == english


def test_words_of_people_stay() -> None:
    for words in ("We were wrong.", "", standing_statement(shipped(), "not_affected")[:-1]):
        assert translated(shipped(), "not_affected", words, "de") == words
    assert translated(shipped(), "content", "We were wrong.", "de") == "We were wrong."


def test_a_german_notice_is_corrected_in_german() -> None:
    told = Told(
        id=UUID(int=1), list_id=UUID(int=2), tenant="alpha", channel="email", recipients={},
        why=None, created_at=datetime(2026, 3, 3, tzinfo=UTC), locale="de",
    )  # fmt: skip
    content = render_correction(
        told,
        shipped(),
        why="not_affected",
        statement=standing_statement(shipped(), "not_affected"),
        number="TOCSIN-2026-0001",
        notification_id=UUID(int=3),
        operator_name="Example Cloud",
        at=datetime(2026, 3, 4, tzinfo=UTC),
    )
    assert content.subject == "Sicherheitsvorfall TOCSIN-2026-0001: Berichtigung unserer Mitteilung"
    assert "nicht\nbetroffen" in content.text or "nicht betroffen" in content.text
    assert content.template == shipped().choose(Kind.CORRECTION, "email", "de").ref
