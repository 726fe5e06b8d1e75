"""What was once written of reviews is readable for ever; no two aggregates share a name."""

import json
from pathlib import Path

import pytest

from services.cases.codec import EVENT_TYPES, SCHEMA, Stored, UnknownEventError
from services.cases.evidence.codec import EVIDENCE_TYPES
from services.cases.review.codec import REVIEW_TYPES, decode_review
from services.cases.review.domain.review import fold
from tests.support.reviews import one_of_each
from tests.support.sealing import EVENT_ID, STREAM_ID, in_clear, read_golden, sealed

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.json"))


def test_every_event_type_has_its_fixture() -> None:
    assert {f"{name}-{SCHEMA}" for name in REVIEW_TYPES} <= {path.stem for path in FILES}


def test_the_name_of_an_event_says_which_aggregate_it_is_of() -> None:
    assert REVIEW_TYPES.keys().isdisjoint(EVENT_TYPES)
    assert REVIEW_TYPES.keys().isdisjoint(EVIDENCE_TYPES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_fixture_decodes_to_what_was_meant_and_is_what_is_written(path: Path) -> None:
    then, keys = read_golden(path)
    event = decode_review(then, keys)
    assert event == one_of_each()[then.type]
    assert fold([event]) is not None
    written = sealed(event) if then.schema == SCHEMA else in_clear(event)
    assert (written.type, written.schema) == (then.type, then.schema)
    data, was = json.loads(written.data), json.loads(then.data)
    for found in (data, was):  # boxes are random; those of the fixture were opened above
        for box in found.get("sealed", ()):
            del box["box"]
    assert data == was


@pytest.mark.parametrize(
    ("type_", "schema", "data"),
    [
        ("ReviewForgotten.v1", 1, "{}"),
        ("ReviewSubmitted.v1", SCHEMA + 1, "{}"),
        ("ReviewSubmitted.v1", 1, '{"no_lessons_reason": 1}'),
    ],
)
def test_what_is_not_known_stops_the_reader(type_: str, schema: int, data: str) -> None:
    with pytest.raises(UnknownEventError):
        decode_review(Stored(type_, schema, data, STREAM_ID, EVENT_ID), {})
