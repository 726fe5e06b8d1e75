"""What changed between two documents, and what is searched."""

import pytest

from services.cases.views import Document
from services.cases.views.past import changes
from services.cases.views.searchable import MOST_CHARACTERS, people_of, searchable

pytestmark = pytest.mark.unit

BLANK: Document = {
    "number": "TOCSIN-2026-1",
    "title": "Odd logins",
    "services": ["mail"],
    "regions": [],
    "source": {"reason": "seen", "refs": []},
    "summary": None,
    "v_team": None,
    "indicators": [{"value": "198.51.100.7"}],
    "actions": [
        {"text": "block it", "result": "", "owner": "rita", "status": "open"},
        {"text": "look", "result": "nothing", "owner": "gone", "status": "done"},
    ],
    "recommendations": [],
    "notes": [
        {"text": "beacon every minute", "visibility": "team"},
        {"text": "we may be liable", "visibility": "legal_privileged"},
    ],
}


def test_nothing_changed_is_no_changes() -> None:
    assert changes(BLANK, {**BLANK, "version": 9, "updated_at": "later"}) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 2}, [("replace", "/a", 1, 2)]),
        ({"a": None}, {"a": {"b": 1}}, [("replace", "/a", None, {"b": 1})]),
        ({"a": [1, 2]}, {"a": [1, 3, 4]}, [("replace", "/a/1", 2, 3), ("add", "/a/2", None, 4)]),
        ({"a": [1, 2]}, {"a": [1]}, [("remove", "/a/1", 2, None)]),
        ({"a": {"b/c~": 1}}, {"a": {}}, [("remove", "/a/b~1c~0", 1, None)]),
        ({"a": {}}, {"a": {"x": 1}}, [("add", "/a/x", None, 1)]),
    ],
)
def test_each_change_is_named(before: Document, after: Document, expected: list[tuple]) -> None:  # type: ignore[type-arg]
    found = [(c["op"], c["path"], c["before"], c["after"]) for c in changes(before, after)]
    assert found == expected


def test_privileged_notes_are_not_searched() -> None:
    text = searchable(BLANK)
    assert "beacon" in text
    assert "198.51.100.7" in text
    assert "liable" not in text


def test_search_text_is_bounded_and_storable() -> None:
    text = searchable({**BLANK, "title": "x\0y" * MOST_CHARACTERS})
    assert len(text) == MOST_CHARACTERS
    assert "\0" not in text


def test_people_are_those_who_have_something_to_do() -> None:
    team = {"members": [{"person": "sam"}, {"person": "rita"}]}
    assert people_of({**BLANK, "v_team": team}) == ["rita", "sam"]
    assert people_of(BLANK) == ["rita"]
