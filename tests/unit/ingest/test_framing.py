"""Where items begin and end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orjson import dumps, loads

from services.ingest.framing import (
    TooManyError,
    UnframeableError,
    frame_json,
    frame_text,
    json_lines,
)

pytestmark = pytest.mark.unit
documents = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers(-9, 9) | st.text(max_size=9), max_size=4),
    min_size=1,
    max_size=6,
)


@given(documents, st.sampled_from(["lines", "array", "concatenated", "pretty"]))
def test_every_form_gives_the_same_documents(wanted: list[dict[str, object]], form: str) -> None:
    import json

    body = {
        "lines": b"\n".join(map(dumps, wanted)),
        "array": b"[" + b" , ".join(map(dumps, wanted)) + b"]",
        "concatenated": b"".join(map(dumps, wanted)),
        "pretty": b"\n".join(json.dumps(d, indent=2).encode() for d in wanted),
    }[form]
    assert [loads(item.data) for item in frame_json(body)] == wanted


def test_items_are_slices_of_the_body() -> None:
    items = list(frame_json(b'[ {"a" :1} ,{"b":  2}]'))
    assert [i.data for i in items] == [b'{"a" :1}', b'{"b":  2}']


def test_a_broken_line_is_an_item_like_the_others() -> None:
    assert [i.data for i in frame_json(b'{"a":1}\n{"b"\n{"c":3}')] == [
        b'{"a":1}', b'{"b"', b'{"c":3}',
    ]  # fmt: skip
    assert [i.data for i in frame_json(b'{"b"\n{"c":3}')] == [b'{"b"', b'{"c":3}']


def test_a_line_may_hold_several_documents() -> None:
    body = b'{"a":"}{"} {"b":1}{"c":"} {"}\n{"d":{"e":1}}{"f":2}'
    assert [i.data for i in frame_json(body)] == [
        b'{"a":"}{"}', b'{"b":1}', b'{"c":"} {"}', b'{"d":{"e":1}}', b'{"f":2}',
    ]  # fmt: skip


_PIECES = [b'{"a":1}', b'{"a":"}{"}', b"{", b"}", b"{}", b"[", b"]", b'"', b"\n", b" ", b",", b"1"]


@given(st.lists(st.sampled_from(_PIECES), max_size=9).map(b"".join))
def test_lines_of_objects_are_what_framing_says(body: bytes) -> None:
    lines = json_lines(b"\xef\xbb\xbf" + body + b"\r\n", 100)
    try:
        good = lines is not None and all(type(loads(line)) is dict for line in lines)
    except ValueError:
        good = False
    if good:
        assert [(n, line) for n, line in enumerate(lines or ())] == [
            (i.index, i.data) for i in frame_json(body)
        ]


def test_what_may_be_deep_takes_a_second_look() -> None:
    flat, deep = b'{"a":[{}]}', b'{"a":' + b"[" * 32 + b"]" * 32 + b"}"
    assert json_lines(flat + b"\n" + flat) == [flat, flat]
    assert json_lines(flat + b"\n" + deep) is None


def test_more_than_a_request_may_hold_is_refused_in_every_form() -> None:
    for body in (b"{}\n" * 9, b"[" + b"1," * 8 + b"1]", b"{}" * 9, b'{"a":"}{"}' * 9):
        with pytest.raises(TooManyError):
            frame_json(body, 8)
    with pytest.raises(TooManyError):
        json_lines(b"{}\n" * 9, 8)
    with pytest.raises(TooManyError):
        frame_text(b"a\n" * 9, 8)


def test_an_empty_body_has_no_items() -> None:
    assert list(frame_json(b" \n ")) == []
    assert list(frame_text(b"\n\n")) == []


@pytest.mark.parametrize("body", [b"hello", b'[{"a":1}', b'"text"', b"42", b'{"a":1} trailing'])
def test_what_cannot_be_framed_is_refused(body: bytes) -> None:
    with pytest.raises(UnframeableError):
        list(frame_json(body))


def test_text_lines_keep_their_number_and_lose_only_their_end() -> None:
    items = list(frame_text("\ufeffa \r\n\nb".encode()))
    assert [(i.index, i.data) for i in items] == [(0, b"a "), (2, b"b")]
