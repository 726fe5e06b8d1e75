"""What was once written is readable for ever: a fixture of each event type and schema."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.cases.codec import EVENT_TYPES, SCHEMA, Stored, UnknownEventError, decode
from services.cases.domain.incident import fold
from tests.support.golden_events import fixtures, one_of_each
from tests.support.sealing import (
    EVENT_ID,
    STREAM_ID,
    in_clear,
    keys_of,
    read_golden,
    sealed,
    stored,
)

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.json"))


def today(stem: str) -> str:
    """Return the name that a fixture would have with the schema of today."""
    name, _, rest = stem.partition("-")
    return "-".join([name, str(SCHEMA), *rest.split("-")[1:]])


def test_every_event_type_has_its_fixture() -> None:
    assert {f"{name}-{SCHEMA}" for name in EVENT_TYPES} <= {path.stem for path in FILES}
    assert set(fixtures()) <= {path.stem for path in FILES}
    assert {today(path.stem) for path in FILES} == set(fixtures())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_fixture_decodes_to_what_was_meant(path: Path) -> None:
    event = decode(*read_golden(path))
    assert event == fixtures()[today(path.stem)]
    assert fold([event]) is not None


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_what_is_written_today_is_what_the_fixture_holds(path: Path) -> None:
    """All but the boxes, which are random: those of the fixture open to the same."""
    then, keys = read_golden(path)
    event = fixtures()[today(path.stem)]
    written = sealed(event) if then.schema == SCHEMA else in_clear(event)
    assert (written.type, written.schema) == (then.type, then.schema)
    # A field that was added since has its default, which is what the old bytes mean.
    data = json.loads(written.data)
    for name, value in json.loads(then.data).items():
        if name == "sealed":
            assert [box["keys"] for box in value] == [box["keys"] for box in data[name]]
        else:
            assert still_says(data[name], value), name
    assert keys.keys() == (keys_of(event).keys() if then.schema == SCHEMA else set())


def still_says(now: Any, then: Any) -> bool:
    """Tell whether *now* is *then*, but for fields that were added since inside of it."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(still_says(now[k], v) for k, v in then.items())
    if isinstance(then, list):
        return len(now) == len(then) and all(map(still_says, now, then))
    return bool(now == then)


def test_keys_are_sorted_so_that_equal_events_are_equal_bytes() -> None:
    for event in one_of_each().values():
        data = in_clear(event).data
        again = json.dumps(json.loads(data), sort_keys=True, ensure_ascii=False)
        assert json.loads(again) == json.loads(data)
        assert list(json.loads(data)) == sorted(json.loads(data))


@pytest.mark.parametrize(
    ("type_", "schema", "data"),
    [
        ("IncidentExploded.v1", 1, "{}"),
        ("NoteAdded.v1", SCHEMA + 1, "{}"),
        ("NoteAdded.v1", 0, "{}"),
        ("NoteAdded.v1", 1, '{"text": 1}'),
    ],
)
def test_what_is_not_known_stops_the_reader(type_: str, schema: int, data: str) -> None:
    with pytest.raises(UnknownEventError):
        decode(Stored(type_, schema, data, STREAM_ID, EVENT_ID), {})


def test_fields_of_a_newer_program_are_ignored() -> None:
    note = one_of_each()["NoteAdded.v1"]
    written = sealed(note)
    newer = json.dumps({**json.loads(written.data), "mood": "fine"})
    found = Stored(written.type, written.schema, newer, STREAM_ID, EVENT_ID)
    assert decode(found, keys_of(note)) == note
    assert decode(stored(written), keys_of(note)) == note
