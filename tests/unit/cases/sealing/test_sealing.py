"""What is sealed of an event, what opens it again, and what is read when a key is gone."""

import base64
import json
from dataclasses import fields, replace
from typing import Any, cast
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cases.aggregates import ALL_TYPES, name_of
from services.cases.codec import Stored, decode_as, key_ids
from services.cases.domain import events as e
from services.cases.domain.incident import fold
from services.cases.domain.personal import person_of
from services.cases.domain.values import Detection, Entity
from services.cases.domain.vocabulary import FactKind, Standing
from services.cases.sealing.box import BOXES, AlteredBoxError, box_keys
from services.cases.sealing.kek import Keks, WrongKekError, load_keks
from services.cases.sealing.leaves import ERASED, SEALED, leaves, undeclared
from services.cases.store import Recorded
from services.cases.views.detail import project
from services.cases.views.listing import summarise
from services.cases.views.searchable import searchable
from services.cases.views.timeline import entry
from services.cases.views.waiting import Wait, waiting
from shared.settings import SettingsError
from tests.support.evidence import one_of_each as evidence_of_each
from tests.support.golden_events import one_of_each
from tests.support.incidents import NOW, SR, story
from tests.support.reviews import one_of_each as reviews_of_each
from tests.support.sealing import (
    EVENT_ID,
    STREAM_ID,
    in_clear,
    keys_of,
    opened,
    sealed,
    stored,
)

pytestmark = pytest.mark.unit

EACH = {**one_of_each(), **evidence_of_each(), **reviews_of_each()}
INCIDENT_KEY = str(uuid5(STREAM_ID, ""))


def key_of(name: str) -> str:
    return str(uuid5(STREAM_ID, person_of(name)))


def detected(user: str, host: str = "mail-01") -> e.DetectionsAttached:
    entities = (Entity(type="user", value=user), Entity(type="host", value=host))
    content = {"message": f"{user} on {host}", "n": 2**60}
    detection = Detection(detection_id=EVENT_ID, rule_id="r", entities=entities, content=content)
    return e.DetectionsAttached(actor=SR, at=NOW, detections=(detection,), count=1)


@pytest.mark.parametrize("name", sorted(ALL_TYPES))
def test_every_field_of_text_says_whether_it_is_personal(name: str) -> None:
    """A new field that says nothing ends here: see services/cases/domain/personal.py."""
    assert undeclared(ALL_TYPES[name]) == []
    assert BOXES not in {field.name for field in fields(ALL_TYPES[name])}


@pytest.mark.parametrize("name", sorted(EACH))
def test_what_is_personal_is_not_in_the_stored_text_and_comes_back(name: str) -> None:
    event = EACH[name]
    text = sealed(event).data
    plain = json.loads(in_clear(event).data)
    for leaf in leaves(type(event), plain):
        if isinstance(leaf.value, str) and len(leaf.value) > 4:
            assert json.dumps(leaf.value, ensure_ascii=False) not in text, leaf.path
    assert opened(sealed(event), keys_of(event)) == event


@pytest.mark.parametrize("name", sorted(EACH))
def test_without_its_keys_an_event_still_says_what_happened(name: str) -> None:
    event = EACH[name]
    erased = opened(sealed(event), dict.fromkeys(keys_of(event)))
    assert type(erased) is type(event)
    assert (erased.actor, erased.at) == (event.actor, event.at)
    assert SEALED not in json.dumps(json.loads(in_clear(erased).data))
    if list(leaves(type(event), json.loads(in_clear(event).data))):
        assert erased != event


def test_a_whole_story_folds_without_its_keys() -> None:
    events = story()
    found = [opened(sealed(event), dict.fromkeys(keys_of(event))) for event in events]
    erased = cast("list[e.Event]", found)
    then, now = fold(events), fold(erased)
    assert (now.state, now.severity, now.clocks) == (then.state, then.severity, then.clocks)
    assert now.title == now.summary == ERASED


def test_what_was_erased_can_still_be_shown() -> None:
    """Every event and every kind of fact, after a whole story, without a key.

    An obligation that is still owed is, too: only when it is due went with its data.
    """
    fact = EACH["FactRecorded.v1"]
    assert isinstance(fact, e.FactRecorded)
    facts = [replace(fact, kind=kind, fact_id=UUID(int=n)) for n, kind in enumerate(FactKind)]
    facts += [
        replace(f, fact_id=UUID(int=100 + n), subject_id=UUID(int=7), standing=Standing.OVERDUE)
        for n, f in enumerate(facts)
    ]
    document, owed = None, list[Wait]()
    each = list(one_of_each().values())
    for n, event in enumerate([*story(), *facts, *each], start=1):
        found = cast("e.Event", opened(sealed(event), dict.fromkeys(keys_of(event))))
        recorded = Recorded(
            position=n,
            stream_id=STREAM_ID,
            version=n,
            event_id=EVENT_ID,
            type=name_of(event),
            event=found,
            recorded_at=NOW,
        )
        document = project(document, recorded)
        assert entry(document, recorded)["sentence"]
        assert searchable(document)
        assert summarise(document)["title"] == ERASED
        owed = [wait for wait in waiting(document) if wait.kind == "obligation"]
        assert [wait.due for wait in owed] == [None] * len(owed)
    assert owed


def test_a_person_is_erased_and_the_rest_stays() -> None:
    event = detected("Bob  Miller")
    keys = keys_of(event)
    assert set(keys) == {INCIDENT_KEY, key_of("bob miller")}
    found = opened(sealed(event), {**keys, key_of("bob miller"): None})
    assert isinstance(found, e.DetectionsAttached)
    (detection,) = found.detections
    assert [entity.value for entity in detection.entities] == [ERASED, "mail-01"]
    assert detection.content == {"erased": True}  # it named him


def test_an_incidents_key_erases_what_is_about_persons_in_it_as_well() -> None:
    event = detected("bob")
    found = opened(sealed(event), {**keys_of(event), INCIDENT_KEY: None})
    assert isinstance(found, e.DetectionsAttached)
    assert {entity.value for entity in found.detections[0].entities} == {ERASED}


@pytest.mark.parametrize("part", ["box", "stream", "event", "type", "swap", "keys", "field"])
def test_an_altered_or_moved_box_is_found(part: str) -> None:
    event = e.SummaryRecorded(actor=SR, at=NOW, version=1, summary="a", potential_impact="b")
    written, keys = sealed(event), dict(keys_of(event))
    data, place = json.loads(written.data), [STREAM_ID, EVENT_ID]
    (box,) = data[BOXES]
    type_ = written.type
    match part:
        case "box":
            raw = bytearray(base64.b64decode(box["box"]))
            raw[-20] ^= 1
            box["box"] = base64.b64encode(raw).decode()
        case "stream":
            place[0] = EVENT_ID
        case "event":
            place[1] = STREAM_ID
        case "type":
            type_ = "NoteAdded.v1"
        case "swap":
            other = sealed(replace(event, summary="c"))
            assert opened(other, keys)  # it is sound where it belongs; elsewhere it is not
            place[1] = uuid5(EVENT_ID, "another")
            box["box"] = json.loads(other.data)[BOXES][0]["box"]
        case "keys":
            keys["another"] = keys[box["keys"][0]]
            box["keys"] = ["another"]
        case _:
            del data["summary"], data["potential_impact"]
            box["box"] = base64.b64encode(b"x" * 40).decode()
    found = Stored(type_, written.schema, json.dumps(data), *place)
    with pytest.raises(AlteredBoxError):
        decode_as(ALL_TYPES, found, keys)


def test_one_box_can_be_shown_without_the_key_of_the_incident() -> None:
    event = e.NoteAdded(actor=SR, at=NOW, note_id=EVENT_ID, text="for you only")
    written = stored(sealed(event))
    plain = json.loads(written.data)
    (shown,) = box_keys(plain, (STREAM_ID, EVENT_ID, written.type), keys_of(event))
    assert shown is not None
    assert shown not in keys_of(event).values()
    assert box_keys(plain, (STREAM_ID, EVENT_ID, written.type), {INCIDENT_KEY: None}) == [None]


def test_the_keys_that_are_needed_are_read_off_the_stored_text() -> None:
    event = detected("bob")
    written = sealed(event)
    assert set(key_ids(written.schema, written.data)) == set(keys_of(event))
    assert key_ids(1, in_clear(event).data) == []


texts = st.text(min_size=1, max_size=60)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    content=st.dictionaries(texts, values, max_size=4),
    users=st.lists(texts, max_size=4),
    gone=st.sets(st.integers(0, 4)),
)
@settings(max_examples=200, deadline=None)
def test_whatever_it_says_it_is_all_there_or_erased(
    content: dict[str, Any], users: list[str], gone: set[int]
) -> None:
    entities = tuple(Entity(type="user", value=user) for user in users)
    detection = Detection(detection_id=EVENT_ID, rule_id="r", entities=entities, content=content)
    event = e.DetectionsAttached(actor=SR, at=NOW, detections=(detection, detection), count=2)
    keys = keys_of(event)
    assert opened(sealed(event), keys) == event
    lost = {key_id for n, key_id in enumerate(sorted(keys)) if n in gone}
    found = opened(sealed(event), {k: None if k in lost else key for k, key in keys.items()})
    assert isinstance(found, e.DetectionsAttached)
    for user, entity in zip(users, found.detections[0].entities, strict=True):
        kept = lost.isdisjoint({INCIDENT_KEY, key_of(user)}) or entity.value == user == ERASED
        assert entity.value == (user if kept else ERASED)
    if content and lost:
        assert found.detections[1].content == {"erased": True}


def test_key_encryption_keys_wrap_and_unwrap(tmp_path: Any) -> None:
    old, new = "11" * 32, "22" * 32
    path = tmp_path / "master.key"
    path.write_text(old)
    before = load_keks(path)
    wrapped = before.wrap(b"k" * 32, b"name")
    path.write_text(f"{new}\n{old}\n")
    after = load_keks(path)
    assert after.current != before.current
    assert after.unwrap(before.current, wrapped, b"name") == b"k" * 32
    with pytest.raises(WrongKekError, match="was altered"):
        after.unwrap(before.current, wrapped, b"another name")
    with pytest.raises(WrongKekError, match="not in the file"):
        Keks([bytes.fromhex(new)]).unwrap(before.current, wrapped, b"name")


@pytest.mark.parametrize("content", [None, "", "abc", "11" * 31, "zz" * 32, "é"])
def test_without_a_key_there_is_a_sentence(tmp_path: Any, content: str | None) -> None:
    path = tmp_path / "master.key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match="TOCSIN_CASES_MASTER_KEY_FILE"):
        load_keks(path)
    with pytest.raises(SettingsError, match="is not set"):
        load_keks(None)
