"""Envelopes into rows and back: verbatim, every leaf by its path, odd names and bounds."""

from datetime import UTC, datetime

import orjson
import pytest

from services.ingest.store.layout import field_column, is_column_path, is_file_key, partition
from services.ingest.store.rows import MAX_LEAVES, MAX_VALUE, decode, envelope_of

pytestmark = pytest.mark.unit
BASE = {
    "id": "01a21432-6318-7c0f-a16b-ca7412ae1df4",
    "source_id": "web",
    "logsource": {"product": "windows"},
    "observed_time": "2026-03-01T00:00:00.000000Z",
}


def body(*envelopes: dict[str, object]) -> bytes:
    return orjson.dumps([{**BASE, **envelope} for envelope in envelopes])


def test_leaves_stand_under_their_path_in_small_letters() -> None:
    [row] = decode(body({"raw": {"Event": {"System": {"EventID": 4625}}, "ok": True, "no": None}}))
    found = {k: v for k, v in row.record.items() if k.startswith("f.")}
    assert found == {"f.event.system.eventid": "4625", "f.ok": "true"}
    assert row.rest == []


def test_what_a_path_has_more_than_once_stands_aside() -> None:
    raw = {"list": [1, {"x": "y"}, [2]], "A": 1, "a": 2, "b.c": 1, "b": {"c": 2}}
    [row] = decode(body({"raw": raw}))
    assert sorted(row.rest) == [("a", "2"), ("b.c", "2"), ("list", "1"), ("list", "2"),
                                ("list.x", "y")]  # fmt: skip


def test_text_is_searched_by_the_fields_that_were_read_from_it() -> None:
    [row] = decode(body({"raw": "a line", "fields": {"host": "h1"}}))
    assert (row.record["is_text"], row.record["raw"], row.record["f.host"]) == (
        True, "a line", "h1",
    )  # fmt: skip


def test_an_event_has_bounds() -> None:
    raw = {f"k{n}": n for n in range(3000)} | {"long": "x" * 10_000}
    [row] = decode(body({"raw": raw}))
    assert len(row.record) <= MAX_LEAVES + 20
    assert len(row.rest) <= MAX_LEAVES
    assert max(len(v) for _, v in row.rest) <= MAX_VALUE
    assert orjson.loads(row.record["raw"]) == raw  # raw has all of it


@pytest.mark.parametrize(
    "envelope",
    [
        {"raw": {"a": 1.5}, "time": "2026-03-01T01:02:03.000004Z", "tenant": "t"},
        {"raw": "text\u0000 é"},
        {"raw": {"x": []}, "fields": {"y": 1}, "region": "eu"},
        {"raw": {}, "door": "hec", "index": {"n": 1}},  # what a newer ingest may add
    ],
)
def test_the_envelope_comes_back(envelope: dict[str, object]) -> None:
    [row] = decode(body(envelope))
    columns = {
        **row.record,
        "observed_time": datetime(2026, 3, 1, tzinfo=UTC),
        "time": datetime.fromisoformat(row.time),
    }
    assert orjson.loads(envelope_of(columns)) == {**BASE, **envelope}


def test_paths_of_columns_hold_nothing_that_needs_care() -> None:
    assert field_column("event.system.eventid") == '"f.event.system.eventid"'
    for path in ('a"b', "a'b", "", "ü", "a\nb", "A", "x" * 200, "a;b", " a", "a\\b"):
        assert not is_column_path(path), path
        with pytest.raises(ValueError, match="no path"):
            field_column(path)


def test_keys_of_files() -> None:
    key = partition(datetime(2026, 3, 1, 9, tzinfo=UTC), "web") + "/1-2-abc.parquet"
    assert key == "date=2026-03-01/hour=09/source=web/1-2-abc.parquet"
    assert is_file_key(key)
    assert not is_file_key("date=2026-03-01/hour=09/source=../../etc/1-2-abc.parquet")
