"""Envelopes keep the event verbatim and give it one identity; blocks keep their bounds."""

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.blocks import build_block, split
from services.ingest.envelope import Enveloper, Limits, Rejected, Sealed
from services.ingest.framing import Item
from services.ingest.sources import Source
from shared.contracts.base import ContractError
from shared.contracts.ingest import (
    MAX_BLOCK_BYTES,
    MAX_BLOCK_EVENTS,
    Logsource,
    decode_block,
)
from shared.ids import uuid7

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SOURCE = Source(id="web", tenant="t1", logsource=Logsource(product="linux"))


def enveloper(hint: Logsource | None = None, key: str | None = None) -> Enveloper:
    return Enveloper(SOURCE, hint, NOW, Limits(max_bytes=5_000, max_depth=32), key)


def seal(data: bytes, *, key: str | None = None, index: int = 0) -> Sealed:
    sealed = enveloper(key=key).seal(Item(index, data))
    assert isinstance(sealed, Sealed), sealed
    return sealed


@pytest.mark.parametrize(
    ("event", "time"),
    [
        (b'{"@timestamp":"2026-01-02T03:04:05Z"}', "2026-01-02T03:04:05.000000Z"),
        (b'{"time":1767323045}', "2026-01-02T03:04:05.000000Z"),
        (b'{"ts":1767323045123}', "2026-01-02T03:04:05.123000Z"),
        (b'{"UtcTime":"2026-01-02 03:04:05.678"}', "2026-01-02T03:04:05.678000Z"),
        (b'{"eventTime":"2026-01-02T03:04:05+02:00"}', "2026-01-02T01:04:05.000000Z"),
        (b'{"time":"soon","timestamp":"2026-01-02T03:04:05Z"}', "2026-01-02T03:04:05.000000Z"),
        (b'{"time":true}', None),
        (b'{"time":1e300}', None),
        (b'{"a":1}', None),
    ],
)
def test_event_time_is_what_the_event_claims(event: bytes, time: str | None) -> None:
    assert orjson.loads(seal(event).data).get("time") == time


_TIMES = st.sampled_from(
    ["2026-01-02T03:04:05.678901Z", "2026-W01-5T03:04:05.678901Z", 1767323045, 7]
)
_EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "@timestamp": _TIMES,
        "ts": _TIMES,
        "event": st.fixed_dictionaries({"dataset": st.sampled_from(["nginx.access", "x"])}),
        "Channel": st.just("Security"),
        "EventID": st.integers(1, 9) | st.just([]),
    },
)


@given(st.lists(_EVENTS, min_size=1, max_size=5))
def test_lines_are_sealed_as_items_are(events: list[dict[str, object]]) -> None:
    lines = [orjson.dumps(event) for event in events]
    plain = Enveloper(Source(id="any"), None, NOW, Limits(max_bytes=5_000, max_depth=32))
    quick = plain.seal_lines(lines)
    slow, rejected = plain.seal_all([Item(n, line) for n, line in enumerate(lines)])
    assert quick is not None
    assert not rejected
    assert [(s.index, s.data.replace(s.id.encode(), b"")) for s in quick] == [
        (s.index, s.data.replace(s.id.encode(), b"")) for s in slow
    ]
    assert all(orjson.loads(s.data)["id"] == s.id for s in quick)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"event_id":"0190b5a0-0000-7000-8000-000000000001"}', None),
        (b'{"a"}', None),
        (b'{"a":"\xff"}', None),
        (b'{"a":1e999}', None),
        (b'{"a":"' + b"x" * 5_000 + b'"}', None),
        (b"{}", "key"),
    ],
)
def test_what_takes_a_second_look_is_not_sealed_by_the_line(line: bytes, key: str | None) -> None:
    assert enveloper(key=key).seal_lines([b"{}", line]) is None


def test_identity_comes_from_the_client_or_is_new() -> None:
    own = b'{"event_id":"0190b5a0-0000-7000-8000-000000000001"}'
    assert seal(own).id == seal(own).id
    assert seal(b"{}").id != seal(b"{}").id
    assert seal(b"{}", key="k").id == seal(b"{}", key="k").id
    assert seal(b"{}", key="k").id != seal(b'{"other":1}', key="k").id
    assert seal(b"{}", key="k").id != seal(b"{}", key="k", index=1).id
    assert not seal(b'{"event_id":4624}').has_client_id


def test_a_hint_replaces_the_logsource_of_the_source() -> None:
    hinted = enveloper(Logsource(product="aws", service="cloudtrail")).seal(Item(0, b"{}"))
    assert isinstance(hinted, Sealed)
    assert orjson.loads(hinted.data)["logsource"] == {"product": "aws", "service": "cloudtrail"}
    assert orjson.loads(seal(b"{}").data)["logsource"] == {"product": "linux"}


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"{", "unparseable"),
        (b'{"a":NaN}', "unparseable"),
        (b"3", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"a":"\\ud800"}', "unparseable"),
        (b'{"a":"\xff"}', "bad_encoding"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "too_deep"),
        (b'{"a":"' + b"x" * 6000 + b'"}', "oversize"),
    ],
)
def test_what_cannot_be_an_event_names_its_cause(data: bytes, cause: str) -> None:
    rejected = enveloper().seal(Item(7, data))
    assert isinstance(rejected, Rejected)
    assert (rejected.cause, rejected.item.index, rejected.item.data) == (cause, 7, data)


def test_brackets_inside_strings_are_not_depth() -> None:
    seal(orjson.dumps({"a": "[" * 100, "b": '\\"{' * 50}))


sizes = st.lists(st.integers(1, 60_000), max_size=40)


@given(sizes)
def test_blocks_hold_everything_in_order_within_bounds(wanted: Sequence[int]) -> None:
    envelopes = [Sealed(str(uuid7()), b'"' + b"x" * n + b'"', False) for n in wanted]
    runs = list(split(envelopes))
    assert [e for run in runs for e in run] == envelopes
    for run in runs:
        size = sum(len(e.data) + 1 for e in run) + 2
        assert len(run) <= MAX_BLOCK_EVENTS
        assert size <= MAX_BLOCK_BYTES or len(run) == 1


def test_many_small_events_fill_blocks_of_500() -> None:
    envelopes = [Sealed(str(uuid7()), b"{}", False)] * 1_001
    assert [len(run) for run in split(envelopes)] == [500, 500, 1]


def test_a_reader_proves_that_a_block_is_complete() -> None:
    block = build_block([seal(b'{"a":1}'), seal(b'{"a":2}')], NOW)
    assert [e["raw"] for e in decode_block(block.headers, block.payload)] == [{"a": 1}, {"a": 2}]
    with pytest.raises(ContractError, match="checksum"):
        decode_block(block.headers, block.payload[:-1])
    with pytest.raises(ContractError, match="as many events"):
        decode_block({**block.headers, "tocsin-count": "3"}, block.payload)
