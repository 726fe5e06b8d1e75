"""What was once written of evidence is readable for ever; the two aggregates never share a name."""

import json
from pathlib import Path

import pytest

from services.cases.codec import EVENT_TYPES, SCHEMA, UnknownEventError
from services.cases.evidence.codec import EVIDENCE_TYPES, decode_evidence, encode_any
from services.cases.evidence.domain.item import fold
from tests.support.evidence import one_of_each

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.json"))


def test_every_event_type_has_its_fixture() -> None:
    assert {path.stem for path in FILES} == {f"{name}-{SCHEMA}" for name in EVIDENCE_TYPES}


def test_the_name_of_an_event_says_which_aggregate_it_is_of() -> None:
    assert EVIDENCE_TYPES.keys().isdisjoint(EVENT_TYPES)
    assert all(name.startswith("Evidence") for name in EVIDENCE_TYPES)
    assert not any(name.startswith("Evidence") for name in EVENT_TYPES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_fixture_decodes_to_what_was_meant_and_is_what_is_written(path: Path) -> None:
    stored = json.loads(path.read_text())
    event = decode_evidence(stored["type"], stored["schema"], json.dumps(stored["data"]))
    assert event == one_of_each()[stored["type"]]
    assert fold([event]) is not None
    written = encode_any(event)
    assert (written.type, written.schema) == (stored["type"], stored["schema"])
    assert json.loads(written.data) == stored["data"]
    assert list(json.loads(written.data)) == sorted(json.loads(written.data))


@pytest.mark.parametrize(
    ("type_", "schema", "data"),
    [
        ("EvidenceBurnt.v1", 1, "{}"),
        ("EvidenceSealed.v1", 2, "{}"),
        ("EvidenceSealed.v1", 1, '{"sha256": 1}'),
    ],
)
def test_what_is_not_known_stops_the_reader(type_: str, schema: int, data: str) -> None:
    with pytest.raises(UnknownEventError):
        decode_evidence(type_, schema, data)


def test_fields_of_a_newer_program_are_ignored() -> None:
    event = one_of_each()["EvidenceSealed.v1"]
    stored = encode_any(event)
    newer = json.dumps({**json.loads(stored.data), "mood": "fine"})
    assert decode_evidence(stored.type, stored.schema, newer) == event
