"""What was once written is readable for ever: one fixture for each event type and schema."""

import json
from pathlib import Path

import pytest

from services.cases.codec import EVENT_TYPES, SCHEMA, UnknownEventError, decode, encode
from services.cases.domain.incident import fold
from tests.support.golden_events import fixtures, one_of_each

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.json"))


def test_every_event_type_has_its_fixture() -> None:
    assert {path.stem for path in FILES} == set(fixtures())
    assert {f"{name}-{SCHEMA}" for name in EVENT_TYPES} <= set(fixtures())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_fixture_decodes_to_what_was_meant(path: Path) -> None:
    stored = json.loads(path.read_text())
    event = decode(stored["type"], stored["schema"], json.dumps(stored["data"]))
    assert event == fixtures()[path.stem]
    assert fold([event]) is not None


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_what_is_written_today_is_what_the_fixture_holds(path: Path) -> None:
    stored = json.loads(path.read_text())
    written = encode(fixtures()[path.stem])
    assert (written.type, written.schema) == (stored["type"], stored["schema"])
    # A field that was added since has its default, which is what the old bytes mean.
    data = json.loads(written.data)
    assert {name: data[name] for name in stored["data"]} == stored["data"]
    older = decode(stored["type"], stored["schema"], json.dumps(stored["data"]))
    assert json.loads(encode(older).data) == data


def test_keys_are_sorted_so_that_equal_events_are_equal_bytes() -> None:
    for event in one_of_each().values():
        data = encode(event).data
        again = json.dumps(json.loads(data), sort_keys=True, ensure_ascii=False)
        assert json.loads(again) == json.loads(data)
        assert list(json.loads(data)) == sorted(json.loads(data))


@pytest.mark.parametrize(
    ("type_", "schema", "data"),
    [
        ("IncidentExploded.v1", 1, "{}"),
        ("NoteAdded.v1", 2, "{}"),
        ("NoteAdded.v1", 1, '{"text": 1}'),
    ],
)
def test_what_is_not_known_stops_the_reader(type_: str, schema: int, data: str) -> None:
    with pytest.raises(UnknownEventError):
        decode(type_, schema, data)


def test_fields_of_a_newer_program_are_ignored() -> None:
    stored = encode(one_of_each()["NoteAdded.v1"])
    newer = json.dumps({**json.loads(stored.data), "mood": "fine"})
    assert decode(stored.type, stored.schema, newer) == one_of_each()["NoteAdded.v1"]
