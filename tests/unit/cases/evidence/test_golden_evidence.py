"""What was once written of evidence is readable for ever; the two aggregates never share a name."""

import json
from pathlib import Path

import pytest

from services.cases.codec import EVENT_TYPES, SCHEMA, Stored, UnknownEventError
from services.cases.evidence.codec import EVIDENCE_TYPES, decode_evidence
from services.cases.evidence.domain.item import fold
from tests.support.evidence import one_of_each
from tests.support.sealing import EVENT_ID, STREAM_ID, in_clear, keys_of, read_golden, sealed

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.json"))


def test_every_event_type_has_its_fixture() -> None:
    assert {f"{name}-{SCHEMA}" for name in EVIDENCE_TYPES} <= {path.stem for path in FILES}


def test_the_name_of_an_event_says_which_aggregate_it_is_of() -> None:
    assert EVIDENCE_TYPES.keys().isdisjoint(EVENT_TYPES)
    assert all(name.startswith("Evidence") for name in EVIDENCE_TYPES)
    assert not any(name.startswith("Evidence") for name in EVENT_TYPES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_fixture_decodes_to_what_was_meant_and_is_what_is_written(path: Path) -> None:
    then, keys = read_golden(path)
    event = decode_evidence(then, keys)
    assert event == one_of_each()[then.type]
    assert fold([event]) is not None
    written = sealed(event) if then.schema == SCHEMA else in_clear(event)
    assert (written.type, written.schema) == (then.type, then.schema)
    data, was = json.loads(written.data), json.loads(then.data)
    for found in (data, was):  # boxes are random; those of the fixture were opened above
        for box in found.get("sealed", ()):
            del box["box"]
    assert data == was
    assert list(data) == sorted(data)


@pytest.mark.parametrize(
    ("type_", "schema", "data"),
    [
        ("EvidenceBurnt.v1", 1, "{}"),
        ("EvidenceSealed.v1", SCHEMA + 1, "{}"),
        ("EvidenceSealed.v1", 1, '{"sha256": 1}'),
    ],
)
def test_what_is_not_known_stops_the_reader(type_: str, schema: int, data: str) -> None:
    with pytest.raises(UnknownEventError):
        decode_evidence(Stored(type_, schema, data, STREAM_ID, EVENT_ID), {})


def test_fields_of_a_newer_program_are_ignored() -> None:
    event = one_of_each()["EvidenceSealed.v1"]
    written = sealed(event)
    newer = json.dumps({**json.loads(written.data), "mood": "fine"})
    found = Stored(written.type, written.schema, newer, STREAM_ID, EVENT_ID)
    assert decode_evidence(found, keys_of(event)) == event
